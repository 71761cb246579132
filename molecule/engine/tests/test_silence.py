# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real vLLM whose engine process stands still: to /health all is well, and the watch ends it.

What the watch leaves alone, and when it gives up, the scenario lifecycle shows with a stand-in.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from engine_lab import UNIT, Engine, converge
from lab.testing import wait_for

WATCH = "hardened-vllm-watch-engine"
# Looks as soon as the process has run for a moment; one restart, so that a slow start is not taken for silence again.
SOON = {"engine_ready_seconds": 5, "engine_watch_seconds": 2, "engine_watch_token_seconds": 5}
SOON |= {"engine_watch_failures": 2, "engine_watch_restarts": 1}
LOOKS_SECONDS = 60
RESTART_SECONDS = 240
CORE = (
    "for p in $(cat /sys/fs/cgroup$(systemctl show -P ControlGroup hardened-vllm-engine)/cgroup.procs); do"
    " grep -q VLLM::EngineCore /proc/$p/cmdline && echo $p; done; true"
)


@pytest.fixture
def watched(engine: Engine) -> Iterator[None]:
    """The engine is watched closely, and afterwards as before, without a restart."""
    engine.wait()
    before = engine.show("InvocationID")
    converge(**SOON)
    assert engine.show("InvocationID") == before, "who watches restarts nothing"
    yield
    engine.shell(f"rm -f /run/{WATCH}/state.json; systemctl reset-failed {WATCH} || true")
    converge()


@pytest.mark.usefixtures("watched")
def test_an_engine_that_stands_still_is_restarted(engine: Engine) -> None:
    before = engine.show("InvocationID")
    cores = engine.shell(CORE).split()
    assert cores
    engine.shell(f"kill -STOP {' '.join(cores)}")
    assert engine.request("/health")[0] == 200, "to /health all is well"
    wait_for(
        lambda: "2 times in a row: restarting" in engine.shell(f"journalctl -q --no-pager -o cat -t {WATCH}"),
        LOOKS_SECONDS,
        "the watch did not decide",
    )
    wait_for(lambda: engine.show("InvocationID") not in (before, ""), RESTART_SECONDS, f"{UNIT} was not restarted")
    assert not set(cores) & set(engine.shell(CORE).split())
    engine.wait()
