# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real vLLM whose engine process stands still: to /health all is well, and the watch restarts it.

What the watch leaves alone, and when it gives up, the scenario lifecycle shows with a stand-in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from lab.testing import Console, wait_for
from lifecycle.support import UNIT

WATCH = "hardened-vllm-watch-engine"
# Looks soon; one restart, so that a slow start is not taken for silence again.
SOON = {"change_ready": 10, "engine_watch_seconds": 2, "engine_watch_token_seconds": 5}
SOON |= {"engine_watch_failures": 2, "engine_watch_restarts": 1}
LOOKS_SECONDS = 120
# vLLM gives what stands still the 90 seconds of --shutdown-timeout, and is killed by systemd after another 30.
STOP_SECONDS = 90 + 30 + 30
START_SECONDS = 600
CORE = (
    f"for p in $(cat /sys/fs/cgroup$(systemctl show -P ControlGroup {UNIT})/cgroup.procs); do"
    " grep -q VLLM::EngineCore /proc/$p/cmdline && echo $p; done; true"
)
HEALTH = "curl -s -o /dev/null -w '%{http_code}' --max-time 20 http://10.234.1.11:8000"


def run_of(engine: Console) -> str:
    return engine.run("systemctl", "show", "--property=InvocationID", "--value", UNIT).strip()


@pytest.fixture
def watched(play: Callable, console: Callable[[str], Console]) -> Iterator[Console]:
    """An engine that is watched closely, and afterwards as before; neither restarts it."""
    engine = console("engine1")
    before = run_of(engine)
    assert play("site", **SOON)[0] == 0
    assert run_of(engine) == before
    yield engine
    engine.shell(f"rm -f /run/{WATCH}/state.json; systemctl reset-failed {WATCH} || true")
    assert play("site")[0] == 0


def test_an_engine_that_stands_still_is_restarted(watched: Console) -> None:
    before, cores = run_of(watched), watched.shell(CORE).split()
    assert cores
    watched.run("kill", "-STOP", *cores)
    assert watched.shell(f"{HEALTH}/health") == "200", "to /health all is well"
    wait_for(
        lambda: "2 times in a row: restarting" in watched.shell(f"journalctl -q --no-pager -o cat -t {WATCH}"),
        LOOKS_SECONDS,
        "the watch did not decide",
    )
    wait_for(lambda: run_of(watched) not in (before, ""), STOP_SECONDS, "it was not restarted")
    wait_for(
        lambda: watched.start("sh", "-c", f"{HEALTH}/health").stdout == "200", START_SECONDS, "it does not serve again"
    )
    assert not set(cores) & set(watched.shell(CORE).split())
