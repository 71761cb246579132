# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes by us and by others: drift is repaired, other addresses are other elements, streams survive."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator

import pytest
from isolation.support import FABRIC1
from lab.host import Host
from lab.nodes import full_name
from shared.firewalled import LAB, RULES, TABLE, Node, converge, plan_of_engine1, sets_with

# Counts spoofed packets where they come in and behind our table.
WATCH = """
table ip watch {
    chain arrived {
        type filter hook prerouting priority -301;
        ip saddr 10.206.1.12 iifname "management0" udp dport 40000 counter
    }
    chain passed {
        type filter hook input priority 100;
        ip saddr 10.206.1.12 iifname "management0" udp dport 40000 counter
    }
}
"""
STREAM = """
import socket, sys
stream = socket.create_connection(("10.206.1.11", 8000), 5)
stream.recv(100)
print("open", flush=True)
for line in sys.stdin:
    stream.sendall(line.encode())
    print(stream.recv(100).decode().strip(), flush=True)
"""
SPOOFED = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("10.206.1.12", 0))
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"management0")
for _ in range(5):
    s.sendto(b"spoofed", ("10.206.1.11", 40000))
"""


@pytest.mark.usefixtures("put_back")
def test_a_flushed_table_is_put_back(engine1: Node, stranger: Node) -> None:
    before = engine1.table()
    engine1.run("nft", "delete", "table", "inet", "hardened_vllm")
    assert 8000 in stranger.scan(FABRIC1, "8000")[FABRIC1[0]], "the attack must succeed on an unprotected node"
    run = converge("--limit", "engine1")
    assert run.changed()["engine1"]
    assert "the table is not in the kernel" in run.text
    assert engine1.table() == before
    assert stranger.scan(FABRIC1, "8000") == {address: [] for address in FABRIC1}


@pytest.mark.usefixtures("put_back")
def test_a_rule_slipped_in_by_another_hand_is_removed(engine1: Node, stranger: Node) -> None:
    before = engine1.table()
    engine1.run("nft", "insert", "rule", "inet", "hardened_vllm", "input", "tcp", "dport", "9999", "accept")
    assert stranger.scan(FABRIC1, "9999") == {address: [9999] for address in FABRIC1}
    run = converge("--limit", "engine1")
    assert "another hand changed it" in run.text
    assert engine1.table() == before
    assert stranger.scan(FABRIC1, "9999") == {address: [] for address in FABRIC1}


@pytest.mark.usefixtures("put_back")
def test_an_element_slipped_into_a_set_is_removed(engine1: Node, stranger: Node) -> None:
    engine1.run("nft", "add", "element", "inet", "hardened_vllm", "from_peers-0_ipv4", "{ 10.206.1.40 }")
    assert stranger.scan(("10.206.1.11",), "29501") == {"10.206.1.11": [29501]}
    assert converge("--limit", "engine1").changed()["engine1"]
    assert stranger.scan(("10.206.1.11",), "29501") == {"10.206.1.11": []}


@pytest.fixture
def stream(gateway: Node) -> Iterator[Callable[[], bool]]:
    """A stream from the gateway to the API, opened before the test; whether a line still comes back."""
    process = subprocess.Popen(
        [*Host().prefix, "podman", "exec", "--interactive", full_name(LAB, gateway.name), "python3", "-uc", STREAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    given, answers = process.stdin, process.stdout
    assert given and answers
    assert answers.readline() == "open\n"

    def lives() -> bool:
        given.write("still there\n")
        given.flush()
        return answers.readline() == "still there\n"

    yield lives
    given.close()
    process.wait(10)


def handles(node: Node) -> list[int]:
    """Return the handle of our table, which a new table of the name does not have, and those of its rules."""
    objects = json.loads(node.run("nft", "-j", *TABLE[1:]))["nftables"]
    return [entry[kind]["handle"] for kind in ("table", "rule") for entry in objects if kind in entry]


@pytest.mark.usefixtures("put_back")
def test_another_peer_is_other_elements_and_nothing_else(
    stream: Callable[[], bool], engine1: Node, gateway: Node, stranger: Node
) -> None:
    """The stranger takes the gateway's place: rules, handles and counts of drops stay, and so does the stream."""
    stranger.scan(FABRIC1, "8000")
    before, counts = handles(engine1), engine1.counters()
    assert counts["NET-02 api refused"] > 0
    others = sets_with(gateways={"ipv4": ["10.206.1.40"], "ipv6": ["fd77:61::40"]})

    dry = converge("--limit", "engine1", "--check", "--diff", isolation_sets=others)
    assert "only elements of sets change: rules and counters stay" in dry.text
    assert "-gateways is 10.206.1.20\n" in dry.text
    assert "+gateways is 10.206.1.40\n" in dry.text
    assert stranger.scan(FABRIC1, "8000") == {address: [] for address in FABRIC1}

    run = converge("--limit", "engine1", isolation_sets=others)
    assert "only elements of sets change: rules and counters stay" in run.text
    assert "removed: gateways is 10.206.1.20" in run.text
    assert "added: gateways is 10.206.1.40" in run.text
    assert stranger.scan(FABRIC1, "8000") == {address: [8000] for address in FABRIC1}
    assert gateway.scan(FABRIC1, "8000") == {address: [] for address in FABRIC1}
    assert stream(), "a stream that was there before is not cut"
    assert handles(engine1) == before
    assert {name: count for name, count in engine1.counters().items() if count < counts[name]} == {}

    # What the next boot loads is what is in force now.
    in_force = engine1.table()
    engine1.run("nft", "-f", RULES)
    assert engine1.table() == in_force
    assert handles(engine1) != before, "a loaded file is another table, so equal handles prove something"
    assert engine1.counters()["NET-02 api refused"] == 0
    assert converge("--limit", "engine1", isolation_sets=others).changed()["engine1"] == 0


@pytest.mark.usefixtures("put_back")
def test_an_established_stream_survives_another_table(stream: Callable[[], bool], gateway: Node) -> None:
    run = converge("--limit", "engine1", isolation_plans=plan_of_engine1())
    assert "only elements of sets change" not in run.text
    assert gateway.scan(FABRIC1, "8000") == {address: [] for address in FABRIC1}
    assert stream()


@pytest.fixture
def spoofer(engine1: Node, stranger: Node) -> Iterator[Node]:
    """The stranger with the second engine's fabric address on its management interface."""
    engine1.run("nft", "-f", "-", given=WATCH)
    route = ("10.206.1.11/32", "via", "10.206.2.11", "dev", "management0")
    stranger.run("ip", "addr", "add", "10.206.1.12/32", "dev", "management0")
    stranger.run("ip", "route", "add", *route)
    yield stranger
    stranger.run("ip", "route", "del", *route)
    stranger.run("ip", "addr", "del", "10.206.1.12/32", "dev", "management0")
    engine1.run("nft", "delete", "table", "ip", "watch")


@pytest.mark.usefixtures("put_back")
def test_a_fabric_source_on_the_management_interface_is_dropped(engine1: Node, spoofer: Node) -> None:
    engine1.run("nft", "delete", "table", "inet", "hardened_vllm")
    spoofer.run("python3", "-c", SPOOFED)
    seen = engine1.run("nft", "list", "table", "ip", "watch")
    assert seen.count("counter packets 5 ") == 2, "the attack must succeed on an unprotected node"

    converge("--limit", "engine1")
    spoofer.run("python3", "-c", SPOOFED)
    seen = engine1.run("nft", "list", "table", "ip", "watch")
    assert "counter packets 10 " in seen.partition("chain passed")[0], "the spoofed packets must arrive"
    assert "counter packets 5 " in seen.partition("chain passed")[2]


@pytest.fixture
def nftables_service(engine1: Node) -> Iterator[None]:
    """The distribution's own service, which starts with `flush ruleset`."""
    assert "flush ruleset" in engine1.run("cat", "/etc/nftables.conf")
    engine1.run("systemctl", "start", "nftables.service")
    yield
    engine1.run("systemctl", "stop", "nftables.service")


@pytest.mark.usefixtures("put_back", "nftables_service")
@pytest.mark.parametrize("verb", ["reload", "restart"])
def test_nftables_service_cannot_leave_the_host_open(verb: str, engine1: Node, stranger: Node) -> None:
    before = engine1.table()
    engine1.run("systemctl", verb, "nftables.service")
    assert engine1.table() == before
    assert stranger.scan(FABRIC1, "8000") == {address: [] for address in FABRIC1}
