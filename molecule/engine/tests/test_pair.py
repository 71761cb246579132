# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One engine over two nodes: what fails on one is taken back on both. vLLM itself is a stand-in here."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from engine_lab import play
from lab.testing import Console

FILES = "/etc/systemd/system/hardened-vllm-engine.service /etc/hardened-vllm/engine/*"
LOOK = f"sha256sum {FILES}; systemctl show -P InvocationID hardened-vllm-engine; ls /var/lib/hardened-vllm"


@pytest.fixture
def looks(console: Callable[[str], Console]) -> Callable[[], list[list[str]]]:
    """A function that returns, for both nodes, digests of files, the id of the process's run and what is kept."""
    return lambda: [console(name).shell(LOOK).splitlines() for name in ("pair1", "pair2")]


@pytest.fixture(scope="module", autouse=True)
def up() -> None:
    code, said = play("pair.yml")
    assert code == 0, said


def files(look: list[str]) -> list[str]:
    return [line for line in look if "/" in line]


def invocations(looked: list[list[str]]) -> list[str]:
    return [line for look in looked for line in look if len(line) == 32]


def test_a_second_run_changes_nothing(looks: Callable) -> None:
    before = looks()
    code, said = play("pair.yml")
    assert code == 0, said
    assert said.count("changed=0 ") == 2
    assert looks() == before


def test_a_change_on_one_node_restarts_both(looks: Callable) -> None:
    before = looks()
    code, said = play("pair.yml", pair2_options=["--seed", "1"])
    assert code == 0, said
    after = looks()
    assert files(after[0]) == files(before[0])
    assert files(after[1]) != files(before[1])
    assert not set(invocations(before)) & set(invocations(after))
    assert play("pair.yml")[0] == 0


@pytest.mark.parametrize("seconds", ["0", "4"], ids=["at once", "after a while"])
def test_a_headless_node_that_dies_takes_the_change_back_on_both(looks: Callable, seconds: str) -> None:
    before = looks()
    never = ["--stand-in-fails-after", "0"] if seconds == "0" else []
    code, said = play(
        "pair.yml", pair_options=["--seed", "2"], pair1_options=never, pair2_options=["--stand-in-fails-after", seconds]
    )
    assert code != 0
    assert "Engine pair does not serve as declared." in said
    assert "RuntimeError: told to fail" in said
    assert "The former state is back on all its nodes and generates again." in said
    after = looks()
    assert [files(look) for look in after] == [files(look) for look in before]
    assert not set(invocations(before)) & set(invocations(after))


def test_files_that_one_node_refuses_restart_neither(looks: Callable, console: Callable[[str], Console]) -> None:
    before = looks()
    env = "/etc/hardened-vllm/engine/engine.env"
    console("pair2").shell(f"mv {env} /root/engine.env; mkdir {env}")
    try:
        code, said = play("pair.yml", pair_options=["--seed", "3"])
    finally:
        console("pair2").shell(f"rmdir {env}; mv /root/engine.env {env}")
    assert code != 0
    assert f"pair2: {env}: a directory is where a file should be; move it away first" in said
    assert "Nothing was restarted: what ran before still runs, unchanged." in said
    assert looks() == before


CUT = "add table inet cut; add chain inet cut in { type filter hook input priority 0; }"
CUT += "; add rule inet cut in tcp dport 22 reject with tcp reset"


def test_a_node_that_is_lost_on_the_way_does_not_keep_the_other_from_going_back(
    looks: Callable, console: Callable[[str], Console]
) -> None:
    """The second node cuts its connections at the moment it has the new files."""
    before = looks()
    console("pair2").run("sh", "-c", "cat > /root/cut.nft", given=CUT)
    watch = ["systemd-run", "--unit=cut", "--path-property=PathChanged=/etc/systemd/system"]
    console("pair2").run(*watch, "nft", "-f", "/root/cut.nft")
    try:
        code, said = play("pair.yml", pair_options=["--seed", "4"])
    finally:
        console("pair2").shell("systemctl stop cut.path; nft delete table inet cut")
    assert code != 0
    assert "pair2: gave no answer; it cannot be reached" in said
    assert files(looks()[0]) == files(before[0])
    code, said = play("pair.yml")
    assert code == 0, said
    assert [files(look) for look in looks()] == [files(look) for look in before]


def test_a_node_that_cannot_be_reached_changes_nothing_on_the_other(
    looks: Callable, console: Callable[[str], Console]
) -> None:
    before = looks()
    console("pair2").run("nft", CUT)
    try:
        code, said = play("pair.yml", pair_options=["--seed", "6"])
    finally:
        console("pair2").run("nft", "delete", "table", "inet", "cut")
    assert code != 0
    assert "pair2" in said
    assert "unreachable=1" in said
    assert looks() == before


def test_half_an_engine_is_not_changed(looks: Callable) -> None:
    before = looks()
    code, said = play("pair.yml", "--limit", "pair1", pair_options=["--seed", "5"])
    assert code != 0
    assert "Engine pair spans pair1, pair2, but this run reaches only pair1." in said
    assert looks() == before
