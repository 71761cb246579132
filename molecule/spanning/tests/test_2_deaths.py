# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When one rank dies the others do not wait for it for ever: all of them end, start again together, and not without end.

Without what ties the nodes together the headless one goes on for minutes as if nothing had happened, and the other cannot load
without it: test_without_the_lifeline_the_other_node_goes_on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from lab.testing import Console, wait_for

from .conftest import BACK_SECONDS, NODES, UNIT, Part

LIFELINE = "hardened-vllm-lifeline-engine.service"
KILLS = {
    "the worker of the headless node": ("engine2", "pkill --signal=KILL --full VLLM[:]:"),
    "the API server": ("engine1", f"kill -KILL $(systemctl show -P MainPID {UNIT})"),
}
# By then both have long been seen together (lifeline.py, SETTLE_SECONDS), and a death told and acted upon.
SEEN_SECONDS = 60
DROP_IN = f"/etc/systemd/system/{UNIT}.d"
NEVER_STARTS = f"""mkdir -p {DROP_IN}
printf '[Service]\\nExecStartPre=/bin/false\\n' > {DROP_IN}/never.conf
systemctl daemon-reload"""


@pytest.fixture(autouse=True)
def starts_from_none(console: Callable[[str], Console]) -> None:
    """The deaths of these tests together are more than systemd allows for."""
    for name in NODES:
        console(name).run("systemctl", "reset-failed", UNIT)


@pytest.fixture
def untied(console: Callable[[str], Console]) -> Iterator[None]:
    for name in NODES:
        console(name).run("systemctl", "stop", LIFELINE)
    yield
    for name in NODES:
        console(name).run("systemctl", "start", LIFELINE)


@pytest.fixture
def never_starts(console: Callable[[str], Console]) -> Iterator[None]:
    console("engine2").shell(NEVER_STARTS)
    yield
    console("engine2").shell(f"rm -r {DROP_IN}; systemctl daemon-reload")


@pytest.mark.usefixtures("untied")
def test_without_the_lifeline_the_other_node_goes_on(
    console: Callable[[str], Console], parts: Callable[[], list[Part]], answers: Callable[[], str]
) -> None:
    before = parts()
    node, kill = KILLS["the API server"]
    console(node).shell(kill)
    time.sleep(2 * SEEN_SECONDS)
    assert parts()[1] == before[1], "it would not have to be tied to anything"
    assert answers() != "200"


def test_tied_again_it_is_mended(
    console: Callable[[str], Console], begins_anew: Callable, parts: Callable[[], list[Part]]
) -> None:
    """Nobody can tell which runs belong together that began before; a restart of one is one of all."""
    before = parts()
    time.sleep(SEEN_SECONDS)
    console("engine2").run("systemctl", "restart", UNIT)
    print("both anew, a token after", begins_anew(before, BACK_SECONDS))


@pytest.mark.parametrize("who", KILLS)
def test_all_ranks_start_again_when_one_dies(
    console: Callable[[str], Console], begins_anew: Callable, parts: Callable[[], list[Part]], who: str
) -> None:
    time.sleep(SEEN_SECONDS)
    before = parts()
    node, kill = KILLS[who]
    console(node).shell(kill)
    print(f"{who}: both anew, a token after", begins_anew(before, BACK_SECONDS))


def test_a_host_that_is_gone_is_missed(
    console: Callable[[str], Console],
    begins_anew: Callable,
    parts: Callable[[], list[Part]],
    reboot: Callable[[str], None],
) -> None:
    """Without a word: no connection ends."""
    time.sleep(SEEN_SECONDS)
    before = parts()
    console("engine1").start("systemctl", "poweroff", "--force", "--force")
    reboot("engine1")
    print("a reboot of the first node: both anew, a token after", begins_anew(before, BACK_SECONDS))


@pytest.mark.usefixtures("never_starts")
def test_the_starts_are_bounded(console: Callable[[str], Console]) -> None:
    """The node that cannot start gives up after four starts, and is named by systemctl --failed."""
    second = console("engine2")
    second.shell("pkill --signal=KILL --full VLLM[:]:")
    wait_for(
        lambda: second.start("systemctl", "is-failed", UNIT).stdout.strip() == "failed",
        BACK_SECONDS,
        "it goes on for ever",
    )
    # systemd counts the start it refuses as well.
    assert int(second.shell(f"systemctl show -P NRestarts {UNIT}")) == 4 + 1
    assert UNIT in second.run("systemctl", "--failed", "--plain", "--no-legend")
