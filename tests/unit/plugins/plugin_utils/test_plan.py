# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Properties of plans: who may reach what, nothing secret, the same for any order."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import InvalidDeclarationError, plan
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.lint import lint
from ansible_collections.hardened.vllm.plugins.plugin_utils.report.explain import explain
from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import CLUSTER, TODAY, engine

TOPOLOGIES = ("replicas", "data_parallel", "tensor_parallel")


def build(topology: str, numbers: list[int], **more: Any) -> dict[str, Any]:
    gateway = {"fabric": ["10.20.1.200"], "management": ["10.20.2.200"], "edge": ["192.0.2.200"]}
    hosts = {f"engine{number}": engine(number) for number in numbers}
    hosts["gateway1"] = {"roles": ["gateway"], "node": {"addresses": gateway}}
    return plan({**CLUSTER, "topology": topology, **more}, hosts, TODAY)


members = st.lists(st.integers(1, 150), min_size=1, max_size=12, unique=True)
topologies = st.sampled_from(TOPOLOGIES)


@given(topologies, members)
@settings(deadline=None, max_examples=60)
def test_internal_sockets_are_open_to_peers_only(topology: str, numbers: list[int]) -> None:
    made = build(topology, numbers)
    own = {f"10.20.1.{number}" for number in numbers}
    for host in made["hosts"].values():
        for listener in host["listeners"]:
            sources = {address for name in listener["from"] for address in made["sets"][name]["ipv4"]}
            if listener["name"] in ("fabric-ephemeral", "rendezvous", "data-parallel-handshake"):
                assert listener["network"] == "fabric"
                assert sources <= own
                assert topology != "replicas"
            if listener["name"] == "api":
                assert sources == {"10.20.1.200"}


@given(topologies, members)
@settings(deadline=None, max_examples=60)
def test_one_matrix_row_for_each_listener(topology: str, numbers: list[int]) -> None:
    made = build(topology, numbers)
    listeners = sorted((name, item["name"]) for name, host in made["hosts"].items() for item in host["listeners"])
    assert sorted((row["to"], row["listener"]) for row in made["matrix"]) == listeners
    for host in made["hosts"].values():
        taken = [(item["network"], item["protocol"], item["ports"]) for item in host["listeners"]]
        assert len(taken) == len(set(taken))


@given(topologies, members, st.randoms())
@settings(deadline=None, max_examples=60)
def test_the_order_of_hosts_does_not_matter(topology: str, numbers: list[int], random: Any) -> None:
    shuffled = list(numbers)
    random.shuffle(shuffled)
    assert json.dumps(build(topology, numbers)) == json.dumps(build(topology, shuffled))


@given(members, st.integers(151, 199))
@settings(deadline=None, max_examples=30)
def test_a_new_replica_changes_nothing_for_the_others(numbers: list[int], new: int) -> None:
    before, after = build("replicas", numbers), build("replicas", [*numbers, new])
    for number in numbers:
        assert before["hosts"][f"engine{number}"] == after["hosts"][f"engine{number}"]


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_what_the_plan_starts_passes_our_own_lint(topology: str) -> None:
    for host in build(topology, [11, 12])["hosts"].values():
        if host["engine"] is not None:
            assert lint(host["engine"]["argv"], host["engine"]["environment"]) == []


def test_no_secret_is_in_a_plan() -> None:
    secret = "s3cret-value-that-must-not-appear-anywhere"
    made = build("data_parallel", [11, 12], tenants=[{"name": "acme", "keys": [{"id": "k1", "value": secret}]}])
    assert secret not in json.dumps(made)
    (key,) = made["hosts"]["gateway1"]["gateway"]["tenants"][0]["keys"]
    assert len(key["sha256"]) == 64


def test_data_parallel_places_every_rank() -> None:
    made = build("data_parallel", [12, 11], engine={"ranks_per_node": 4})
    head, other = (made["hosts"][name]["engine"] for name in ("engine11", "engine12"))
    assert head["api"] == {"address": "10.20.1.11", "port": 8000}
    assert other["api"] is None
    assert other["secret_arguments"] == {}
    words = " ".join(other["argv"])
    assert "--data-parallel-size 8 --data-parallel-size-local 4 --data-parallel-address 10.20.1.11" in words
    assert "--headless --data-parallel-start-rank 4" in words
    assert head["environment"]["VLLM_HOST_IP"] == "10.20.1.11"
    assert head["environment"]["GLOO_SOCKET_IFNAME"] == "eth1"
    assert head["environment"]["NCCL_SOCKET_IFNAME"] == "=eth1"


def test_tensor_parallel_spans_the_nodes() -> None:
    made = build("tensor_parallel", [11, 12], engine={"ranks_per_node": 4})
    words = " ".join(made["hosts"]["engine12"]["engine"]["argv"])
    assert "--tensor-parallel-size 8 --nnodes 2 --node-rank 1 --master-addr 10.20.1.11 --master-port 29501" in words
    assert [item["name"] for item in made["hosts"]["engine11"]["listeners"]] == [
        "api",
        "fabric-ephemeral",
        "rendezvous",
        "ssh",
    ]


def test_replicas_do_not_talk_to_each_other() -> None:
    made = build("replicas", [11, 12])
    assert not [name for name in made["sets"] if name.startswith("peers")]
    assert [item["name"] for item in made["hosts"]["gateway1"]["gateway"]["upstreams"]] == ["engine11", "engine12"]


def test_media_domains_are_never_empty() -> None:
    argv = build("replicas", [11])["hosts"]["engine11"]["engine"]["argv"]
    assert argv[argv.index("--allowed-media-domains") + 1] == "media-disabled.invalid"
    chosen = build("replicas", [11], media={"allowed_domains": ["b.example.org", "a.example.org"]})
    argv = chosen["hosts"]["engine11"]["engine"]["argv"]
    start = argv.index("--allowed-media-domains")
    assert argv[start + 1 : start + 3] == ["a.example.org", "b.example.org"]


def test_gateways_pass_only_what_was_asked_for() -> None:
    gateway = build("replicas", [11], gateway={**CLUSTER["gateway"], "routes": ["chat"]})["hosts"]["gateway1"][
        "gateway"
    ]
    assert [(route["path"], route["methods"]) for route in gateway["routes"]] == [("/v1/chat/completions", ["POST"])]


def test_declared_rank_decides_who_is_head() -> None:
    hosts = {"engine1": engine(11), "engine2": engine(12)}
    hosts["engine2"]["node"]["rank"] = 0
    hosts["engine1"]["node"]["rank"] = 1
    gateway = {"fabric": ["10.20.1.200"], "management": ["10.20.2.200"], "edge": ["192.0.2.200"]}
    hosts["gateway1"] = {"roles": ["gateway"], "node": {"addresses": gateway}}
    made = plan(CLUSTER, hosts, TODAY)
    assert made["hosts"]["engine2"]["engine"]["api"] is not None
    assert made["hosts"]["engine1"]["engine"]["api"] is None


def test_natural_order_of_names() -> None:
    made = build("data_parallel", [2, 10])
    assert made["hosts"]["engine2"]["engine"]["rank"] == 0


def test_an_invalid_declaration_has_no_plan() -> None:
    with pytest.raises(InvalidDeclarationError, match="release-unknown"):
        build("replicas", [11], release="9.9.9")


def test_the_plan_in_words_names_every_listener() -> None:
    made = build("tensor_parallel", [11, 12])
    text = "\n".join(explain(made))
    for row in made["matrix"]:
        assert f"{row['protocol']} {row['ports']} on " in text
    assert ipaddress.ip_address("10.20.1.12").exploded in text
