# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packets as no socket makes them, from a stranger on the fabric's own wire: none gets past the table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from shared.firewalled import Node

# Every packet is for port 29501 of the first engine, which listens to its peers, or speaks of a connection of its own.
FORGE = """
import json, socket, struct, sys
wanted = json.load(sys.stdin)
v4 = [socket.inet_aton(one) for one in ("10.206.1.40", "10.206.1.11")]
v6 = [socket.inet_pton(socket.AF_INET6, one) for one in ("fd77:61::40", "fd77:61::11")]

def checksum(data):
    data += b"\\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF

def tcp(source, target, flags):
    segment = struct.pack("!HHIIBBHHH", 40123, 29501, 1, 1, 6 << 4, flags, 1024, 0, 0) + b"\\x02\\x04\\x05\\xb4"
    pseudo = source + target + struct.pack("!II", len(segment), 6)
    return segment[:16] + struct.pack("!H", checksum(pseudo + segment)) + segment[18:]

def ip(payload, protocol=6, flags=0, source=v4[0], target=v4[1]):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 7, flags, 64, protocol, 0, source, target)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload

def ip6(payload, following):
    return struct.pack("!IHBB16s16s", 6 << 28, len(payload), following, 64, *v6) + payload

def icmp(kind, code, rest):
    inner = ip(struct.pack("!HHHH", 45555, 5353, 9, 0), 17, source=v4[1], target=v4[0])
    message = struct.pack("!BBH4s", kind, code, 0, rest) + inner
    return ip(message[:2] + struct.pack("!H", checksum(message)) + message[4:], 1)

syn, syn6 = tcp(*v4, 2), tcp(*v6, 2)
padded = b"\\x06\\x00\\x01\\x04\\x00\\x00\\x00\\x00"
first, rest = struct.pack("!BBHI", 6, 0, 1, 9), struct.pack("!BBHI", 6, 0, 8, 9)
packets = {
    "fragments": [ip(syn[:8], flags=0x2000), ip(syn[8:], flags=1)],
    "no opening": [ip(tcp(*v4, 16))],
    "v6 fragments": [ip6(first + syn6[:8], 44), ip6(rest + syn6[8:], 44)],
    "v6 atomic fragment": [ip6(struct.pack("!BBHI", 6, 0, 0, 10) + syn6, 44)],
    "v6 hop by hop": [ip6(padded + syn6, 0)],
    "v6 destination options": [ip6(padded + syn6, 60)],
    "redirect": [icmp(5, 1, v4[0])],
    "unreachable": [icmp(3, 3, b"\\0" * 4)],
}
for packet in packets[wanted]:
    family = socket.AF_INET6 if packet[0] >> 4 == 6 else socket.AF_INET
    raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
    raw.sendto(packet, ("fd77:61::11" if family == socket.AF_INET6 else "10.206.1.11", 0))
"""
# What has passed every filter, fragments together again.
WATCH = """
table inet watch {
    chain passed {
        type filter hook input priority 100; policy accept;
        ip saddr 10.206.1.40 tcp dport 29501 counter comment "peers"
        ip6 saddr fd77:61::40 tcp dport 29501 counter comment "peers"
        ip saddr 10.206.1.40 icmp type redirect counter comment "redirect"
        ip saddr 10.206.1.40 icmp type destination-unreachable counter comment "unreachable"
    }
}
"""
ASK = """
import socket
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind(("10.206.1.11", 45555))
one.sendto(b"?", ("10.206.1.40", 5353))
"""
ATTACKS = [
    "fragments",
    "no opening",
    "v6 fragments",
    "v6 atomic fragment",
    "v6 hop by hop",
    "v6 destination options",
    "redirect",
]


@pytest.fixture
def watched(engine1: Node) -> Iterator[Node]:
    engine1.run("nft", "-f", "-", given=WATCH)
    yield engine1
    engine1.run("nft", "delete", "table", "inet", "watch")


def counted(engine: Node, what: str) -> int:
    seen = engine.run("nft", "list", "table", "inet", "watch")
    return sum(int(packets) for packets in re.findall(rf'counter packets (\d+) .* comment "{what}"', seen))


def passes(name: str, engine: Node, stranger: Node) -> bool:
    """Whether a forged packet gets past every filter of the engine's host."""
    what = name if name in ("redirect", "unreachable") else "peers"
    # The engine's host has a connection of its own under way, which errors may speak of.
    engine.run("python3", "-c", ASK)
    before = counted(engine, what)
    stranger.run("python3", "-c", FORGE, given=json.dumps(name))
    return counted(engine, what) > before


@pytest.mark.usefixtures("put_back")
def test_no_forged_packet_gets_past_the_table(watched: Node, stranger: Node) -> None:
    assert {name: passes(name, watched, stranger) for name in ATTACKS} == dict.fromkeys(ATTACKS, False)
    assert passes("unreachable", watched, stranger), "an error about a connection of the host's own is what paths need"

    watched.run("nft", "delete", "table", "inet", "hardened_vllm")
    assert {name: passes(name, watched, stranger) for name in ATTACKS} == dict.fromkeys(ATTACKS, True)
