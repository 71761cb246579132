# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a run of the engine ends with that of another node, and what the nodes tell each other about it."""

from __future__ import annotations

import importlib.util
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "roles/engine/files/etc/hardened-vllm/engine/lifeline.py"
SPEC = importlib.util.spec_from_file_location("engine_lifeline", SCRIPT)
assert SPEC and SPEC.loader
lifeline = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(lifeline)

R1, R2, P1, P2 = ("1" * 32, "2" * 32, "a" * 32, "b" * 32)


def judged(*seen: tuple[float, str, str]) -> list[bool]:
    """Return what a new bond says to each of ``seen``: moment, own run, the other's."""
    bond = lifeline.Bond()
    return [bond.broken(own, other, now) for now, own, other in seen]


@pytest.mark.parametrize("after", ["", P2], ids=["down", "another run"])
def test_the_end_of_the_other_is_the_end_of_ours_once(after: str) -> None:
    assert judged((0, R1, P1), (16, R1, P1), (18, R1, after), (20, R1, after)) == [False, False, True, False]


def test_what_ended_and_came_up_here_stays_up() -> None:
    """The other ended first; ours, begun after that, waits for its next run."""
    seen = (0, R1, P1), (16, R1, P1), (18, R1, ""), (20, "", ""), (30, R2, ""), (40, R2, P2), (60, R2, P2)
    assert judged(*seen) == [False, False, True, False, False, False, False]


def test_an_end_here_asks_nothing_of_the_next_run() -> None:
    """It is the other that has to end; when it does, ours has been another for long."""
    assert not any(judged((0, R1, P1), (16, R1, P1), (18, "", P1), (28, R2, P1), (32, R2, ""), (42, R2, P2)))


def test_runs_that_were_up_together_for_a_moment_are_no_engine() -> None:
    assert not any(judged((0, R1, P1), (10, R1, P1), (12, R1, ""), (24, R1, P2)))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture
def made() -> Callable[..., Any]:
    port = free_port()

    def make(head: bool, peers: list[str], silence: float = 60.0) -> Any:
        told = {"address": "127.0.0.1", "port": port, "head": head, "peers": peers, "silence_seconds": silence}
        return lifeline.Lifeline(told)

    return make


def talk(*turns: tuple[Any, str], begin: float = 0.0, until: float = 20.0) -> list[str]:
    """Let nodes talk, each with its run, for ``until`` seconds of their clock; return whose end was seen."""
    found: list[str] = []
    moment = begin
    while moment <= begin + until:
        for node, run in turns:
            found += node.broken_by(run, moment)
            time.sleep(0.01)
        moment += 2
    return found


@pytest.fixture
def pair(made: Callable[..., Any]) -> tuple[Any, Any]:
    """The first node of an engine and another one, which know each other's runs R1 and P1."""
    head, member = made(True, ["127.0.0.1"]), made(False, ["127.0.0.1"])
    assert talk((head, R1), (member, P1)) == []
    return head, member


def test_each_node_sees_the_end_of_the_other(pair: tuple[Any, Any]) -> None:
    head, member = pair
    assert talk((head, R1), (member, ""), begin=22, until=4) == ["127.0.0.1"], "the first node"
    head.listener.close()


def test_the_other_direction_too(pair: tuple[Any, Any]) -> None:
    head, member = pair
    assert talk((head, ""), (member, P1), begin=22, until=4) == ["127.0.0.1"], "the other node"
    head.listener.close()


def test_a_connection_that_comes_back_with_the_same_run_ends_nothing(
    pair: tuple[Any, Any], made: Callable[..., Any]
) -> None:
    head, member = pair
    head.listener.close()
    for wire in head._wires.values():
        wire.close()
    again = made(True, ["127.0.0.1"])
    assert talk((again, R1), (member, P1), begin=22) == []
    assert talk((again, ""), (member, P1), begin=50, until=4) == ["127.0.0.1"], "and it is still seen"
    again.listener.close()


def test_a_node_that_says_nothing_is_lost_after_a_while(pair: tuple[Any, Any]) -> None:
    head, _member = pair
    assert talk((head, R1), begin=22, until=50) == []
    assert talk((head, R1), begin=74, until=20) == ["127.0.0.1"]
    head.listener.close()


def test_a_stranger_is_not_listened_to(made: Callable[..., Any]) -> None:
    head, stranger = made(True, ["192.0.2.1"]), made(False, ["127.0.0.1"])
    assert talk((head, R1), (stranger, P1)) == []
    assert head._heard == {}, "nothing it says counts"
    head.listener.close()


@pytest.mark.parametrize("said", [b"x" * 5000, b"reboot\n" * 3], ids=["no line", "no run"])
def test_what_is_no_run_is_dropped(made: Callable[..., Any], said: bytes) -> None:
    head = made(True, ["127.0.0.1"])
    with socket.create_connection(head.listener.getsockname()[:2]) as rude:
        rude.sendall(said)
        assert talk((head, R1), until=6) == []
    assert all(run == "" for run, _at in head._heard.values())
    head.listener.close()


@pytest.mark.parametrize(
    ("state", "up"),
    [("active", True), ("deactivating", True), ("activating", False), ("failed", False), ("inactive", False)],
)
def test_a_run_that_is_being_stopped_is_up_until_it_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, up: bool
) -> None:
    """The other nodes are needed for the requests it still answers."""
    (tmp_path / "systemctl").write_text(f"#!/bin/sh\nprintf 'ActiveState={state}\\nInvocationID={R1}\\n'\n")
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert lifeline.run_of("a.service") == (R1 if up else "")
