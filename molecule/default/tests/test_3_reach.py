# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From outside, on every network: nothing but the gateway's door, though everything listens."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from lab.testing import Console

from .conftest import ROOT, UNIT, play

SCANNER = (ROOT / "tests/support/portscan.py").read_text()
FABRIC = {"engine1": ["10.220.1.11", "fd77:221::11"], "engine2": ["10.220.1.12", "fd77:221::12"]}
MANAGEMENT = {"engine1": ["10.220.2.11", "fd77:222::11"], "engine2": ["10.220.2.12", "fd77:222::12"]}
GATEWAY = ["10.220.1.20", "fd77:221::20", "10.220.2.20", "fd77:222::20"]
EDGE = ["10.220.3.20", "fd77:223::20"]
INSIDE = [*GATEWAY, *FABRIC["engine1"], *FABRIC["engine2"], *MANAGEMENT["engine1"], *MANAGEMENT["engine2"]]
ALL_PORTS = "1-65535"
# Of the lifeline, a unit with a wall of its own.
LIFELINE, LIFELINE_UNIT = 44999, "hardened-vllm-lifeline-engine.service"


def scan(console: Console, addresses: list[str], ports: str) -> dict[str, list[int]]:
    text = console.run("python3", "-", *addresses, "--ports", ports, given=SCANNER)
    return {address: list(found) for address, found in json.loads(text).items()}


def listening(console: Console) -> set[tuple[str, int]]:
    """The (address, port) pairs a node listens on over TCP."""
    lines = console.run("ss", "-Hltn").splitlines()
    pairs = [line.split()[3].rsplit(":", 1) for line in lines]
    return {(address.strip("[]"), int(port)) for address, port in pairs}


def ports_text(ports: set[int]) -> str:
    return ",".join(str(port) for port in sorted(ports))


def internal(console: Console, address: str) -> set[int]:
    """The ports of vLLM's unauthenticated sockets between nodes."""
    return {
        port
        for bound, port in listening(console)
        if bound in (address, "*", "0.0.0.0", "::") and 40000 <= port <= 44999
    }


@pytest.fixture(scope="module")
def seen(console: Callable[[str], Console]) -> dict[str, dict[str, list[int]]]:
    """What each of those outside finds on every port: name -> address -> ports. They scan at the same time, for they mostly wait."""
    targets = {"observer": [*EDGE, *INSIDE], "stranger": INSIDE}
    found: dict[str, dict[str, list[int]]] = {name: {} for name in targets}
    with ThreadPoolExecutor() as pool:
        # Each scan has addresses of several nodes, so that none sees a whole batch at once.
        scans = [
            (name, pool.submit(scan, console(name), addresses[first::3], ALL_PORTS))
            for name, addresses in targets.items()
            for first in range(3)
        ]
    for name, each in scans:
        found[name] |= {address: ports for address, ports in each.result().items() if ports}
    return found


def test_the_observer_finds_the_door_and_nothing_else(seen: dict[str, dict[str, list[int]]]) -> None:
    assert seen["observer"] == {address: [443] for address in EDGE}


def test_the_stranger_finds_nothing_at_all(seen: dict[str, dict[str, list[int]]]) -> None:
    assert seen["stranger"] == {}


def test_it_is_all_listening_and_a_peer_finds_it(console: Callable[[str], Console]) -> None:
    """Message queues, gloo and the API do listen; a member of the engine reaches its peer's internal sockets."""
    for name, peer in (("engine1", "engine2"), ("engine2", "engine1")):
        address = FABRIC[name][0]
        ports = internal(console(name), address)
        assert len(ports) > 5
        assert set(scan(console(peer), [address], ports_text(ports))[address]) == ports
        assert scan(console("stranger"), [address], ports_text(ports))[address] == []
        assert scan(console("gateway"), [address], ports_text(ports))[address] == []


def test_the_api_is_for_gateways_only(console: Callable[[str], Console]) -> None:
    address = FABRIC["engine1"][0]
    assert (address, 8000) in listening(console("engine1"))
    assert scan(console("gateway"), [address], "8000")[address] == [8000]
    for name in ("engine2", "stranger", "observer"):
        assert scan(console(name), [address], "8000")[address] == []


@pytest.fixture
def unprotected(console: Callable[[str], Console]) -> Iterator[None]:
    """Engine 1 without its firewall, for one test; the next run of the playbook has to notice and mend it."""
    console("engine1").run("nft", "delete", "table", "inet", "hardened_vllm")
    yield
    run = play("site", "--tags", "isolation")
    assert run.code == 0, run.text
    assert run.changed()["engine1"] > 0


@pytest.mark.usefixtures("unprotected")
def test_without_the_firewall_the_unit_and_without_both_nothing_keeps_the_stranger_out(
    console: Callable[[str], Console],
) -> None:
    """The hole: the same scan finds the API and the internal sockets once our table and the unit's wall are gone."""
    engine, address = console("engine1"), FABRIC["engine1"][0]
    ports = internal(engine, address) | {8000}
    assert LIFELINE in ports
    assert scan(console("stranger"), [address], ports_text(ports))[address] == []
    engine.run("systemctl", "set-property", "--runtime", UNIT, "IPAddressAllow=any")
    try:
        assert set(scan(console("stranger"), [address], ports_text(ports))[address]) == ports - {LIFELINE}
        engine.run("systemctl", "set-property", "--runtime", LIFELINE_UNIT, "IPAddressAllow=any")
        assert scan(console("stranger"), [address], str(LIFELINE))[address] == [LIFELINE]
    finally:
        engine.shell(f"rm -r /run/systemd/system.control/{UNIT}.service.d; systemctl daemon-reload")
        engine.shell(f"rm -rf /run/systemd/system.control/{LIFELINE_UNIT}.d; systemctl daemon-reload")
    assert scan(console("stranger"), [address], ports_text(ports))[address] == []


def test_the_firewall_is_back(console: Callable[[str], Console]) -> None:
    address = FABRIC["engine1"][0]
    ports = internal(console("engine1"), address) | {8000, 22}
    assert scan(console("stranger"), [address], ports_text(ports))[address] == []


def test_fabric_sockets_stay_on_the_fabric(console: Callable[[str], Console]) -> None:
    own = {"10.220.1.11", "127.0.0.1", "::1"}
    for address, port in listening(console("engine1")):
        assert address in own or port == 22 or re.fullmatch(r"127\..*", address), (address, port)
