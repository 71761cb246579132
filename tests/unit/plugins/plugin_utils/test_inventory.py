# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clusters of one inventory: who belongs to which, and what two of them cannot both have."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.inventory import audited, clusters

Variables = dict[str, dict[str, Any]]


def host(cluster: str, *fabric: str, **other: Any) -> dict[str, Any]:
    return {"vllm_cluster": {"name": cluster}, "vllm_node": {"addresses": {"fabric": list(fabric), **other}}}


def sentences(variables: Variables) -> list[str]:
    return [problem.sentence() for problem in clusters({"vllm_nodes": list(variables)}, variables)[1]]


def test_hosts_go_to_the_cluster_they_name() -> None:
    found, problems = clusters(
        {"vllm_nodes": ["a", "b"], "vllm_gateways": ["b"]},
        {"a": host("chat", "10.20.1.11"), "b": host("code", "10.20.1.12")},
    )
    assert {name: list(cluster["hosts"]) for name, cluster in found.items()} == {"chat": ["a"], "code": ["b"]}
    assert found["code"]["hosts"]["b"]["roles"] == ["engine", "gateway"]
    assert problems == []


def test_an_address_of_two_clusters_is_an_error_with_both_places() -> None:
    variables = {
        "chat1": host("chat", "10.20.1.11", "fd20:1::11"),
        "code1": host("code", "10.20.1.12", edge=["10.20.1.11"]),
        "code2": host("code", "10.20.1.13", "FD20:1:0:0::11"),
    }
    expected = (
        "expected an address no host of another cluster has. "
        "Give each host its own address, or put both into one cluster."
    )
    assert sentences(variables) == [
        "error [address-shared] hosts.code1.vllm_node.addresses.edge[0]: found 10.20.1.11 in cluster 'code', which "
        f"hosts.chat1.vllm_node.addresses.fabric[0] of cluster 'chat' has; {expected}",
        "error [address-shared] hosts.code2.vllm_node.addresses.fabric[1]: found fd20:1::11 in cluster 'code', which "
        f"hosts.chat1.vllm_node.addresses.fabric[1] of cluster 'chat' has; {expected}",
    ]


def test_inside_one_cluster_its_own_validation_says_so() -> None:
    assert sentences({"a": host("chat", "10.20.1.11"), "b": host("chat", "10.20.1.11")}) == []


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "fe80::1", "224.0.0.1", "engine1", "", None, 7])
def test_what_pins_nothing_is_left_to_validation(address: Any) -> None:
    assert sentences({"a": host("chat", address), "b": host("code", address)}) == []


@pytest.mark.parametrize(
    "node",
    [
        None,
        "",
        [],
        {"addresses": None},
        {"addresses": ["10.20.1.11"]},
        {"addresses": {"fabric": "10.20.1.11"}},
        {"addresses": {1: ["10.20.1.12"], "edge": [None]}},
    ],
)
def test_what_is_not_as_it_should_be_ends_nothing(node: Any) -> None:
    broken = {"vllm_cluster": {"name": "code"}, "vllm_node": node}
    assert sentences({"a": host("chat", "10.20.1.11"), "b": broken}) == []


def test_a_host_without_a_cluster_and_one_with_another_declaration_are_said() -> None:
    variables = {
        "a": host("chat", "10.20.1.11"),
        "b": {"vllm_cluster": {"name": "chat", "release": "0.31.0"}},
        "c": {},
    }
    assert sentences(variables) == [
        "error [declaration-differs] hosts.b.vllm_cluster: found another declaration of cluster 'chat' than a has; "
        "expected one declaration for all hosts of a cluster. "
        "Keep vllm_cluster in one group; what differs by host belongs in vllm_node.",
        "error [missing-key] hosts.c.vllm_cluster: found None; expected the declaration of its cluster. "
        "Set vllm_cluster for c, in the variables of its cluster's group.",
    ]


def test_an_audit_takes_hosts_nobody_declared() -> None:
    groups = {"all": ["engine", "other", "outside"], "vllm_nodes": ["engine", "other"], "vllm_observers": ["outside"]}
    node = {"addresses": {"fabric": ["10.20.1.11"]}}
    hostvars: dict[str, dict[str, Any]] = {
        "engine": {"vllm_cluster": {"name": "chat"}, "vllm_node": node, "ansible_host": "10.20.2.11"},
        "other": {"ansible_host": "other.example.org"},
        "outside": {},
    }
    found = audited(groups, hostvars, {"engine": {"addresses": {"10.20.1.11": "eth1"}}})
    assert found["problems"] == []
    assert found["hosts"] == ["engine", "other"]
    assert found["foreign"] == ["other"]
    assert found["declared"] == {"engine": ["10.20.1.11", "10.20.2.11"], "other": []}
    assert found["clusters"]["chat"]["hosts"]["engine"]["probe"] == {"addresses": {"10.20.1.11": "eth1"}}
