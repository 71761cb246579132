# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An address of the fabric proves nothing when it comes in elsewhere."""

from __future__ import annotations

import json

import pytest
from shared.firewalled import Node

# Sends one SYN to port 443 with a source address of its own choice; nothing comes back here.
FORGE = """
import json, socket, struct, sys
source, target = json.load(sys.stdin)
pack = lambda address: socket.inet_aton(address)
def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
syn = struct.pack("!HHIIBBHHH", 40123, 443, 1, 0, 5 << 4, 2, 1024, 0, 0)
pseudo = pack(source) + pack(target) + struct.pack("!BBH", 0, 6, len(syn))
syn = syn[:16] + struct.pack("!H", checksum(pseudo + syn)) + syn[18:]
header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 1, 0, 64, 6, 0, pack(source), pack(target))
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
raw.sendto(header + syn, (target, 0))
"""
PEER, EDGE = "10.206.1.11", "10.206.3.20"
OPEN, FORGED = "NET-05 https", "NET-07 forged fabric source"


def forged(observer: Node, gateway: Node) -> dict[str, int]:
    """What the gateway's rules count while the outsider claims to be an engine."""
    before = gateway.counters()
    observer.run("python3", "-c", FORGE, given=json.dumps([PEER, EDGE]))
    after = gateway.counters()
    return {name: after.get(name, 0) - before.get(name, 0) for name in (OPEN, FORGED)}


@pytest.fixture
def unchecked(gateway: Node) -> None:
    """A kernel that does not judge the way back either, as hosts with several ways are set."""
    gateway.shell("for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $file; done")


@pytest.mark.usefixtures("unchecked")
def test_without_the_rule_an_outsider_passes_as_an_engine(observer: Node, gateway: Node) -> None:
    rules = gateway.run("nft", "-s", "list", "chain", "inet", "hardened_vllm", "forged")
    gateway.run("nft", "flush", "chain", "inet", "hardened_vllm", "forged")
    try:
        assert forged(observer, gateway) == {OPEN: 1, FORGED: 0}
    finally:
        gateway.run("nft", "-f", "-", given=rules)


@pytest.mark.usefixtures("unchecked")
def test_an_address_of_the_fabric_is_dropped_elsewhere(observer: Node, gateway: Node) -> None:
    assert forged(observer, gateway) == {OPEN: 0, FORGED: 1}
