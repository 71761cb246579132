# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes by us and by others: drift is repaired, foreign tables stay, streams survive, containers are covered."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from isolation.support import ENGINE1, FABRIC1
from lab.host import Host
from lab.nodes import full_name
from shared.firewalled import LAB, Node, converge, sets_with

OPEN_EVERYTHING = """
table inet hostile {
    chain first { type filter hook input priority -300; policy accept; accept; }
    chain last { type filter hook input priority 300; policy accept; accept; }
    chain through { type filter hook forward priority -300; policy accept; accept; }
}
"""
# The shape docker gives iptables-nft, with a container of 172.30.0.2 published on a planned port and on another one.
DOCKER_SHAPED = """
table ip nat {
    chain DOCKER {
        iifname != "docker0" tcp dport 8000 dnat to 172.30.0.2:80
        iifname != "docker0" tcp dport 8443 dnat to 172.30.0.2:80
    }
    chain PREROUTING { type nat hook prerouting priority dstnat; policy accept; fib daddr type local jump DOCKER; }
}
table ip filter {
    chain DOCKER { ip daddr 172.30.0.2 iifname != "docker0" oifname "docker0" tcp dport 80 accept; }
    chain FORWARD {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        oifname "docker0" jump DOCKER
        iifname "docker0" accept
    }
    chain INPUT { type filter hook input priority filter; policy accept; }
}
"""
CONTAINER = """
ip netns add container
ip link add docker0 type veth peer name inside netns container
ip addr add 172.30.0.1/24 dev docker0
ip link set docker0 up
ip -n container addr add 172.30.0.2/24 dev inside
ip -n container link set inside up
ip -n container link set lo up
ip -n container route add default via 172.30.0.1
echo 1 > /proc/sys/net/ipv4/ip_forward
systemd-run -q --unit=container ip netns exec container python3 -c \
    'import socketserver as s; s.TCPServer(("", 80), s.BaseRequestHandler).serve_forever()'
"""
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


@pytest.fixture
def hostile_tables(engine1: Node) -> Iterator[str]:
    engine1.run("nft", "-f", "-", given=OPEN_EVERYTHING + DOCKER_SHAPED)
    engine1.shell(CONTAINER)
    yield _foreign(engine1)
    engine1.shell(
        "systemctl stop container; ip link del docker0; ip netns del container; echo 0 > /proc/sys/net/ipv4/ip_forward"
    )
    engine1.run("nft", "-f", "-", given="delete table inet hostile\ndelete table ip nat\ndelete table ip filter\n")


def _foreign(node: Node) -> str:
    return "".join(
        node.run("nft", "-s", "list", "table", *name.split()) for name in ("inet hostile", "ip nat", "ip filter")
    )


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


@pytest.mark.usefixtures("put_back")
def test_foreign_tables_stay_as_they_are_and_open_nothing(
    hostile_tables: str, engine1: Node, stranger: Node, gateway: Node
) -> None:
    engine1.run("nft", "delete", "table", "inet", "hardened_vllm")
    unprotected = stranger.scan(ENGINE1, "22,8000,8443,9999,29501,40000")
    assert unprotected["10.206.1.11"] == [22, 8000, 8443, 9999, 29501, 40000], (
        "the attack must succeed on an unprotected node"
    )

    converge("--limit", "engine1")

    assert _foreign(engine1) == hostile_tables
    protected = stranger.scan(ENGINE1, "22,8000,9999,29501,40000")
    assert protected == {address: [] for address in ENGINE1}
    # A container published on a planned port answers those whom the plan lets in; other published ports are not ours.
    assert gateway.scan(("10.206.1.11",), "8000") == {"10.206.1.11": [8000]}
    assert stranger.scan(("10.206.1.11",), "8443") == {"10.206.1.11": [8443]}
    assert engine1.counters()["NET-02 api refused"] > 0


@pytest.mark.usefixtures("put_back")
def test_an_established_stream_survives_a_change(gateway: Node) -> None:

    stream = subprocess.Popen(
        [*Host().prefix, "podman", "exec", "--interactive", full_name(LAB, "gateway"), "python3", "-uc", STREAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert stream.stdin and stream.stdout
    assert stream.stdout.readline() == "open\n"
    run = converge("--limit", "engine1", isolation_sets=sets_with(gateways={"ipv4": ["198.51.100.20"], "ipv6": []}))
    assert "removed: gateways is 10.206.1.20" in run.text
    assert "added: gateways is 198.51.100.20" in run.text
    assert gateway.scan(("10.206.1.11",), "8000") == {"10.206.1.11": []}
    stream.stdin.write("still there\n")
    stream.stdin.flush()
    assert stream.stdout.readline() == "still there\n"
    stream.stdin.close()
    stream.wait(10)


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
