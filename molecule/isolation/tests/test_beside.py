# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of others stay as they are and open nothing of ours: hostile ones, docker's, kube-proxy's in both its modes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from isolation.support import ENGINE1
from shared.firewalled import Node, converge

HOSTILE = """
table inet hostile {
    chain first { type filter hook input priority -300; policy accept; accept; }
    chain last { type filter hook input priority 300; policy accept; accept; }
    chain through { type filter hook forward priority -300; policy accept; accept; }
}
"""
# The shape docker gives iptables-nft, with a container of 172.30.0.2 published on a planned port and on another one; and
# in the same tables kube-proxy's, with a pod published on two more.
IPTABLES_NFT = """
table ip nat {
    chain DOCKER {
        iifname != "docker0" tcp dport 8000 counter dnat to 172.30.0.2:80
        iifname != "docker0" tcp dport 8443 counter dnat to 172.30.0.2:80
    }
    chain KUBE-MARK-MASQ { meta mark set mark or 0x4000; }
    chain KUBE-SEP-POD { jump KUBE-MARK-MASQ; meta l4proto tcp counter dnat to 172.30.0.2:80; }
    chain KUBE-NODEPORTS { tcp dport { 29501, 30443 } goto KUBE-SEP-POD; }
    chain KUBE-SERVICES { fib daddr type local goto KUBE-NODEPORTS; }
    chain KUBE-POSTROUTING {
        mark and 0x4000 != 0x4000 return
        meta mark set mark xor 0x4000
        masquerade fully-random
    }
    chain PREROUTING {
        type nat hook prerouting priority dstnat; policy accept;
        fib daddr type local jump DOCKER
        jump KUBE-SERVICES
    }
    chain POSTROUTING { type nat hook postrouting priority srcnat; policy accept; jump KUBE-POSTROUTING; }
}
table ip filter {
    chain DOCKER { ip daddr 172.30.0.2 iifname != "docker0" oifname "docker0" tcp dport 80 accept; }
    chain KUBE-FORWARD {
        ct state invalid drop
        mark and 0x4000 == 0x4000 accept
        ct state related,established accept
    }
    chain FORWARD {
        type filter hook forward priority filter; policy drop;
        jump KUBE-FORWARD
        ct state established,related accept
        oifname "docker0" jump DOCKER
        iifname "docker0" accept
    }
    chain INPUT { type filter hook input priority filter; policy accept; }
}
"""
# kube-proxy's nftables mode: everything in maps of one table.
KUBE_NFT = """
table ip kube-proxy {
    map service-nodeports {
        type inet_proto . inet_service : verdict
        elements = { tcp . 40000 : goto external-POD, tcp . 31443 : goto external-POD }
    }
    chain mark-for-masquerade { meta mark set mark or 0x4000; }
    chain external-POD { jump mark-for-masquerade; meta l4proto tcp counter dnat to 172.30.0.2:80; }
    chain services {
        fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @service-nodeports
    }
    chain nat-prerouting { type nat hook prerouting priority dstnat; policy accept; jump services; }
    chain masquerading {
        mark and 0x4000 == 0 return
        meta mark set mark xor 0x4000
        masquerade fully-random
    }
    chain nat-postrouting { type nat hook postrouting priority srcnat; policy accept; jump masquerading; }
}
"""
TABLES = ("inet hostile", "ip nat", "ip filter", "ip kube-proxy")
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
OUTSIDE = ENGINE1[0]
PLANNED, OTHERS = [8000, 29501, 40000], [8443, 30443, 31443]


@pytest.fixture
def foreign_tables(engine1: Node) -> Iterator[str]:
    """Text of the tables of others on the first engine, without the values of counters."""
    engine1.run("nft", "-f", "-", given=HOSTILE + IPTABLES_NFT + KUBE_NFT)
    engine1.shell(CONTAINER)
    yield foreign(engine1)
    engine1.shell(
        "systemctl stop container; ip link del docker0; ip netns del container; echo 0 > /proc/sys/net/ipv4/ip_forward"
    )
    engine1.run("nft", "-f", "-", given="".join(f"delete table {name}\n" for name in TABLES))


def foreign(node: Node) -> str:
    return "".join(node.run("nft", "-s", "list", "table", *name.split()) for name in TABLES)


def redirected(node: Node) -> list[int]:
    """Connections that each redirection to the container has taken."""
    text = "".join(node.run("nft", "list", "table", *name.split()) for name in TABLES)
    return [int(packets) for packets in re.findall(r"counter packets (\d+) bytes \d+ dnat", text)]


def ports(numbers: list[int]) -> str:
    return ",".join(map(str, numbers))


@pytest.mark.usefixtures("put_back")
def test_foreign_tables_stay_as_they_are_and_open_nothing(
    foreign_tables: str, engine1: Node, engine2: Node, stranger: Node, gateway: Node
) -> None:
    engine1.run("nft", "delete", "table", "inet", "hardened_vllm")
    everything = sorted([22, 9999, *PLANNED, *OTHERS])
    unprotected = stranger.scan(ENGINE1, ports(everything))
    assert unprotected[OUTSIDE] == everything, "the attack must succeed on an unprotected node"
    assert min(redirected(engine1)) > 0, "and reach the container by each of the redirections"

    converge("--limit", "engine1")

    assert foreign(engine1) == foreign_tables
    before = redirected(engine1)
    assert stranger.scan(ENGINE1, ports([22, 9999, *PLANNED])) == {address: [] for address in ENGINE1}
    assert redirected(engine1) == before
    # A container published on a planned port answers those whom the plan lets in; other published ports are not ours.
    assert gateway.scan((OUTSIDE,), ports(PLANNED)) == {OUTSIDE: [8000]}
    assert engine2.scan((OUTSIDE,), ports(PLANNED)) == {OUTSIDE: [29501, 40000]}
    assert stranger.scan((OUTSIDE,), ports(OTHERS)) == {OUTSIDE: OTHERS}
    counted = engine1.counters()
    for name in ("NET-02 api", "NET-03 torch-rendezvous", "NET-03 fabric-ephemeral"):
        assert counted[f"{name} refused"] > 0
