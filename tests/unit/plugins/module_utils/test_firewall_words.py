# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a policy and the difference of two read."""

from __future__ import annotations

from typing import Any

from ansible_collections.hardened.vllm.plugins.module_utils import firewall_policy as policy
from ansible_collections.hardened.vllm.plugins.module_utils import firewall_words as words
from support.policies import SETS, SSH, listener


def test_the_policy_in_words() -> None:
    found = policy.checked([SSH, listener(why="")], SETS)
    found["operator"] = {"address": "198.51.100.7", "port": 22}
    assert words.words(found, {"net.ipv4.ip_local_port_range": "40000 44999"}) == [
        "everything that no line below allows is dropped (NET-01)",
        "gateways may reach tcp 8000 on eth0 (api; NET-02)",
        "operators may reach tcp 22,2200-2299 on any interface (ssh, API for the gateways; NET-04)",
        "198.51.100.7 may reach tcp 22 on any interface (the connection this run came in on; NET-04)",
        "gateways is 10.0.0.20",
        "gateways is fd00::20",
        "operators is 10.1.0.0/24",
        "kernel setting net.ipv4.ip_local_port_range = 40000 44999",
    ]
    assert words.words({}, {}) == []


def test_the_interface_of_the_fabric_in_words() -> None:
    found = policy.checked([listener()], {**SETS, "fabric": {"ipv4": ["10.0.0.0/24"]}}, fabric="eth0")
    assert "sources of the fabric are forged on any interface but eth0 (NET-07)" in words.words(found, {})


def test_the_share_of_a_source_in_words() -> None:
    found = words.words(policy.checked([listener(per_source=64)], SETS), {})
    assert found[2] == "one source (IPv6: one /64) holds at most 64 connections to tcp 8000 (api; NET-14)"


def test_an_empty_source_is_nobody() -> None:
    assert "gateways is nobody" in words.words(policy.checked([listener()], {"gateways": {}}), {})


def test_changes_name_what_goes_and_what_comes() -> None:
    before = words.words(policy.checked([listener()], SETS), {})
    after = words.words(policy.checked([listener()], {"gateways": {"ipv4": ["10.0.0.21"]}}), {})
    assert words.changes(before, after) == [
        "removed: gateways is 10.0.0.20",
        "removed: gateways is fd00::20",
        "added: gateways is 10.0.0.21",
    ]
    assert words.changes(after, after) == []


def test_many_addresses_are_summed_up() -> None:
    many = {"gateways": {"ipv4": [f"10.0.{high}.{low}" for high in range(10) for low in range(100)]}}
    found = words.changes([], words.words(policy.checked([listener()], many), {}))
    assert len(found) < 30
    assert found[-1] == "added: gateways is 980 more"


def test_sockets_that_nobody_will_reach_are_named() -> None:
    def socket(port: int, address: str = "0.0.0.0", *names: str) -> dict[str, Any]:
        return {
            "protocol": "tcp",
            "address": address,
            "port": port,
            "processes": [{"pid": 1, "name": name} for name in names],
        }

    sockets = [
        socket(8000),
        socket(9100, "::", "exporter"),
        socket(9101, "0.0.0.0", "exporter"),
        socket(9200, "0.0.0.0", "exporter"),
        socket(9300),
        socket(631, "127.0.0.1"),
    ]
    assert words.closes({"listeners": [listener()]}, sockets) == [
        "exporter: tcp 9100-9101,9200",
        "unknown process: tcp 9300",
    ]
