# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open must be open and closed closed: from stranger, peer, gateway and outsider, both families, TCP and UDP."""

from __future__ import annotations

from isolation.support import ENGINE1, FABRIC1
from shared.firewalled import PLAN, Node, converge

TCP = PLAN["isolation_engine_tcp"]
PEER_TCP = [29501, 29550, *range(40000, 40100), *range(44900, 45000)]
PEER_UDP = [*range(40000, 40100), *range(44900, 45000)]
CLOSED: dict[str, list[int]] = {address: [] for address in ENGINE1}
GATEWAY = ("10.206.1.20", "fd77:61::20", "10.206.2.20", "fd77:62::20", "10.206.3.20", "fd77:63::20")


def test_the_ports_are_listening_on_the_host_itself(engine1: Node) -> None:
    everything = [22, 8000, 9999, *PEER_TCP]
    assert engine1.scan(ENGINE1, TCP) == {address: sorted(everything) for address in ENGINE1}


def test_a_stranger_on_the_fabric_reaches_none_of_all_tcp_ports(stranger: Node) -> None:
    assert stranger.scan(ENGINE1, "1-65535", "--timeout", "1.2") == CLOSED


def test_a_stranger_reaches_no_datagram_port(stranger: Node) -> None:
    assert stranger.scan(ENGINE1, "40000-40099,44900-44999", "--udp") == CLOSED


def test_a_peer_reaches_exactly_the_peer_ports(engine2: Node) -> None:
    expected = {**CLOSED, **dict.fromkeys(FABRIC1, PEER_TCP)}
    assert engine2.scan(ENGINE1, TCP) == expected


def test_a_peer_reaches_exactly_the_peer_datagram_ports(engine2: Node) -> None:
    expected = {**CLOSED, **dict.fromkeys(FABRIC1, PEER_UDP)}
    assert engine2.scan(ENGINE1, "40000-40099,44900-44999", "--udp") == expected


def test_the_gateway_reaches_exactly_the_api(gateway: Node) -> None:
    expected = {**CLOSED, **{address: [8000] for address in FABRIC1}}
    assert gateway.scan(ENGINE1, TCP) == expected


def test_the_gateway_reaches_no_datagram_port(gateway: Node) -> None:
    assert gateway.scan(ENGINE1, "40000-40009", "--udp") == CLOSED


def test_the_world_reaches_only_https_of_the_gateway(observer: Node) -> None:
    addresses = GATEWAY[4:]
    assert observer.scan(addresses, "1-65535", "--timeout", "1.2") == {address: [443] for address in addresses}


def test_a_stranger_reaches_nothing_of_the_gateway(stranger: Node) -> None:
    addresses = GATEWAY[:4]
    assert stranger.scan(addresses, "22,443,9999") == {address: [] for address in addresses}


def test_pings_are_answered(stranger: Node) -> None:
    program = (
        "import socket, struct\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)\n"
        "s.settimeout(2)\n"
        "s.sendto(struct.pack('!BBHHH', 8, 0, 0, 1, 1), ('10.206.1.11', 0))\n"
        "print(s.recv(100)[0])\n"
    )
    stranger.shell("echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range")
    assert stranger.run("python3", "-c", program).strip() == "0"


def test_drops_and_accepts_are_counted_under_their_control(engine1: Node, gateway: Node, stranger: Node) -> None:
    before = engine1.counters()
    gateway.scan(FABRIC1, "8000")
    stranger.scan(FABRIC1, "8000")
    after = engine1.counters()
    assert after["NET-02 api"] == before["NET-02 api"] + 2
    assert after["NET-01 nothing allows it"] >= before["NET-01 nothing allows it"] + 2


def test_the_kernel_settings_are_in_force_and_kept_in_a_file(engine1: Node, gateway: Node) -> None:
    assert engine1.run("cat", "/proc/sys/net/ipv4/ip_local_port_range").split() == ["40000", "44999"]
    assert engine1.run("cat", "/proc/sys/net/ipv4/ip_local_reserved_ports").strip() == "8000,29501,29550"
    assert "net.ipv4.ip_local_port_range = 40000 44999" in engine1.run("cat", "/etc/sysctl.d/90-hardened-vllm.conf")
    assert not gateway.exists("/etc/sysctl.d/90-hardened-vllm.conf")


def test_only_root_reads_the_rules(engine1: Node) -> None:
    assert engine1.run("stat", "-c", "%a %U %G", "/etc/hardened-vllm/firewall.nft").split() == ["600", "root", "root"]


def test_a_second_run_changes_nothing() -> None:
    run = converge()
    assert [run.changed()[host] for host in ("engine1", "engine2", "gateway")] == [0, 0, 0]
    assert "Log in afresh" not in run.text
