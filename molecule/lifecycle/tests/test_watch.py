# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine that answers /health and generates nothing: restarted once, then left to people."""

from __future__ import annotations

import time
from collections.abc import Callable

from lab.testing import Console, wait_for
from lifecycle.support import UNIT

API = "http://10.223.1.11:8000"
WATCH = "hardened-vllm-watch-engine"
SECONDS = 120
ASK = f"""key=$(sed -n 's/^api-key: "\\(.*\\)"$/\\1/p' /etc/hardened-vllm/engine/secrets.yaml)
curl -s -o /dev/null -w '%{{http_code}}' --max-time 3 -H "Authorization: Bearer $key" \\
    -d '{{"model": "stand-in", "prompt": "WHAT"}}' {API}/v1/completions || true"""


def asked(engine: Console, what: str) -> str:
    """Return the status of a completion of ``what``, 000 when none came."""
    return engine.shell(ASK.replace("WHAT", what))


def run_of(engine: Console) -> str:
    return engine.shell(f"systemctl show -P InvocationID {UNIT}").strip()


def test_silence_is_ended_once(console: Callable[[str], Console]) -> None:
    engine = console("engine1")
    engine.shell(f"rm -f /run/{WATCH}/state.json")
    first = run_of(engine)
    assert asked(engine, "fall silent") == "000"
    assert engine.shell(f"curl -s -o /dev/null -w '%{{http_code}}' {API}/health") == "200", "to /health all is well"
    assert asked(engine, "x") == "000"
    wait_for(lambda: run_of(engine) not in (first, ""), SECONDS, "the watch did not restart it")
    wait_for(lambda: asked(engine, "x") == "200", SECONDS, "it does not generate again")
    assert "2 times in a row: restarting" in engine.shell(f"journalctl -q --no-pager -o cat -t {WATCH}")
    second = run_of(engine)
    asked(engine, "fall silent")
    wait_for(
        lambda: engine.start("systemctl", "is-failed", f"{WATCH}.service").stdout.strip() == "failed",
        SECONDS,
        "the watch did not give up",
    )
    assert run_of(engine) == second, "one restart was allowed"
    assert "is left as it is" in engine.shell(f"journalctl -q --no-pager -o cat -t {WATCH}")
    engine.shell(f"systemctl restart {UNIT}; rm -f /run/{WATCH}/state.json")
    wait_for(lambda: asked(engine, "x") == "200", SECONDS, "it does not generate after a restart by hand")


def test_what_somebody_stopped_stays_stopped(console: Callable[[str], Console]) -> None:
    engine = console("engine1")
    engine.shell(f"systemctl stop {UNIT}")
    time.sleep(10)
    assert engine.start("systemctl", "is-active", UNIT).stdout.strip() == "inactive"
    engine.shell(f"systemctl start {UNIT}")
    wait_for(lambda: asked(engine, "x") == "200", SECONDS, "it does not generate after its start")
