# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Beside ufw and firewalld: ours decides for its ports, theirs stay as they are, whoever reloads, reboots or leaves first."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab import runs
from lab.testing import Console

SCENARIO = Path(__file__).parents[1]
SCANNER = (SCENARIO.parents[1] / "tests/support/portscan.py").read_text()
ADDRESSES = {"engine1": ("10.222.1.11", "fd77:241::11"), "engine2": ("10.222.1.12", "fd77:241::12")}
PORTS = "22,8000,9999,29550,40000-40009"
OURS = "inet hardened_vllm"
RELOADS = [
    ("engine1", "ufw reload"),
    ("engine1", "ufw disable && ufw --force enable"),
    ("engine2", "firewall-cmd --reload"),
    ("engine2", "firewall-cmd --complete-reload"),
    ("engine2", "systemctl restart firewalld.service"),
]
# As a service mesh might do it: the packet has another port before our decision on ports is reached.
EARLY = """
table ip mesh {
    chain first { type nat hook prerouting priority -150; policy accept; tcp dport 8000 redirect to :9999; }
}
"""


class Node:
    """A node of the lab, with what these tests ask of one."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def reaches(self, name: str) -> set[tuple[int, ...]]:
        """Return the open ports of a node's fabric addresses; one element when IPv4 and IPv6 are alike."""
        found = json.loads(
            self.console.run("python3", "-", *ADDRESSES[name], "--ports", PORTS, "--timeout", "1.2", given=SCANNER)
        )
        return {tuple(ports) for ports in found.values()}

    def table(self) -> str:
        return self.console.run("nft", "-s", "list", "table", *OURS.split())

    def foreign(self) -> dict[str, str]:
        """Return every table that is not ours, without the values of counters."""
        tables = [line.removeprefix("table ") for line in self.console.run("nft", "list", "tables").splitlines()]
        return {name: self.console.run("nft", "-s", "list", "table", *name.split()) for name in tables if name != OURS}


@pytest.fixture(scope="module")
def node(console: Callable[[str], Console]) -> Callable[[str], Node]:
    return lambda name: Node(console(name))


def closed_for_others(node: Callable[[str], Node], name: str) -> None:
    assert node("stranger").reaches(name) == {()}
    assert node("gateway").reaches(name) == ({(8000,)} if name == "engine1" else {()})


@pytest.mark.parametrize("name", sorted(ADDRESSES))
def test_what_the_other_firewall_opens_is_closed_by_ours(name: str, node: Callable[[str], Node]) -> None:
    closed_for_others(node, name)


def test_peers_reach_what_both_open(node: Callable[[str], Node]) -> None:
    ephemeral = tuple(range(40000, 40010))
    assert node("engine2").reaches("engine1") == {(29550, *ephemeral)}
    assert node("engine1").reaches("engine2") == {ephemeral}


def test_the_run_says_that_they_have_to_open_the_ports_too() -> None:
    run = runs.play("coexist", SCENARIO.parents[1] / "playbooks/preflight.yml")
    assert run.code == 0, run.text
    text = " ".join(run.text.split())
    for host, tool in (("engine1", "ufw"), ("engine2", "firewalld")):
        assert f"[firewall-beside] hosts.{host}: found {tool} (" in text


def test_what_the_other_one_drops_stays_dropped(node: Callable[[str], Node]) -> None:
    engine = node("engine1")
    engine.console.run("ufw", "delete", "allow", "8000,29550,40000:44999/tcp")
    try:
        assert node("gateway").reaches("engine1") == {()}
    finally:
        engine.console.run("ufw", "allow", "8000,29550,40000:44999/tcp")
    closed_for_others(node, "engine1")


@pytest.mark.parametrize(("name", "command"), RELOADS, ids=[command for _name, command in RELOADS])
def test_the_other_one_is_reloaded_and_ours_stands(name: str, command: str, node: Callable[[str], Node]) -> None:
    before = node(name).table()
    node(name).console.shell(command)
    assert node(name).table() == before
    closed_for_others(node, name)


@pytest.fixture
def redirected(node: Callable[[str], Node]) -> Iterator[Node]:
    engine = node("engine1")
    engine.console.run("nft", "-f", "-", given=EARLY)
    yield engine
    engine.console.run("nft", "delete", "table", "ip", "mesh")


def test_a_redirection_before_ours_is_an_error_before_any_change(redirected: Node) -> None:
    before = redirected.foreign()
    run = runs.play("coexist", SCENARIO / "converge.yml")
    assert run.code != 0
    text = " ".join(run.text.split())
    assert "[firewall-before] hosts.engine1: found chain first of table ip mesh" in text
    assert "Give that chain the priority dstnat (-100), or remove it." in text
    assert set(run.changed().values()) == {0}
    assert redirected.foreign() == before


@pytest.mark.parametrize("name", sorted(ADDRESSES))
def test_both_are_back_after_a_reboot(name: str, node: Callable[[str], Node], reboot: Callable[[str], None]) -> None:
    ours, theirs = node(name).table(), node(name).foreign()
    reboot(name)
    for each in ("engine1", "engine2", "gateway", "stranger"):
        node(each).console.run("ip", "neigh", "flush", "all")
    assert node(name).table() == ours
    assert node(name).foreign().keys() == theirs.keys()
    closed_for_others(node, name)


def test_ours_leaves_and_theirs_stay(node: Callable[[str], Node]) -> None:
    theirs = {name: node(name).foreign() for name in ADDRESSES}
    run = runs.play("coexist", SCENARIO.parent / "isolation/remove.yml")
    assert run.code == 0, run.text
    for name, tables in theirs.items():
        assert node(name).foreign() == tables
        assert node("stranger").reaches(name) == {(22, 8000, 9999, 29550, *range(40000, 40010))}
    again = runs.play("coexist", SCENARIO / "converge.yml")
    assert again.code == 0, again.text
    for name in ADDRESSES:
        closed_for_others(node, name)
