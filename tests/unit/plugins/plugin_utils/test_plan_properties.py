# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for the plan of every topology, whatever the number and the order of its hosts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan, validate
from ansible_collections.hardened.vllm.plugins.plugin_utils.declaration.model import PortRange
from ansible_collections.hardened.vllm.plugins.plugin_utils.planning.ports import collisions
from ansible_collections.hardened.vllm.plugins.plugin_utils.report.explain import explain
from hypothesis import given, settings
from hypothesis import strategies as st
from support.topologies import TOPOLOGIES, declaration

from .conftest import TODAY

# Twos, so that prefill and decode and engines of two nodes come out even.
members = st.lists(st.integers(1, 240), min_size=2, max_size=10, unique=True).map(
    lambda found: found[: len(found) // 2 * 2]
)
names = st.sampled_from(sorted(TOPOLOGIES))
EXAMPLES = settings(deadline=None, max_examples=80)
PUBLIC = {"https", "ssh"}


def build(name: str, numbers: list[int], **more: Any) -> dict[str, Any]:
    cluster, hosts = declaration(name, numbers)
    return plan({**cluster, **more}, hosts, TODAY)


def addresses(made: dict[str, Any], listener: dict[str, Any]) -> set[str]:
    return {
        address for name in listener["from"] for family in ("ipv4", "ipv6") for address in made["sets"][name][family]
    }


def fabric(made: dict[str, Any], names: set[str]) -> set[str]:
    return {made["hosts"][name]["addresses"]["fabric"][family] for name in names for family in ("ipv4", "ipv6")}


def may_talk(made: dict[str, Any], name: str) -> set[str]:
    """Hosts of the same engine, of the same Ray cluster and of the other stage."""
    host = made["hosts"][name]
    parts = [*host["engines"], *([host["ray"]] if host["ray"] else [])]
    own = {member for part in parts for member in made["members"][part["group_name"]]}
    stages = {part.get("stage") for part in host["engines"]} - {None}
    # A headless node of a Ray engine has no vLLM process; its engine is known by its Ray cluster.
    others = {
        other
        for other, found in made["hosts"].items()
        for part in found["engines"]
        if stages and part["stage"] is not None and part["stage"] not in stages
    }
    return own | others


@pytest.mark.parametrize("name", sorted(TOPOLOGIES))
def test_every_topology_is_sound(name: str) -> None:
    found = {problem.rule for problem in validate(*declaration(name), TODAY) if problem.severity.name != "INFO"}
    assert found == {"release-old"}  # the newest release whose facts are known has advisories of its own


@given(names, members)
@EXAMPLES
def test_internal_sockets_are_open_to_peers_only(name: str, numbers: list[int]) -> None:
    made = build(name, numbers)
    gateways = fabric(made, {"gateway1"})
    subscribers = {"10.20.3.0/28"}
    for host, part in made["hosts"].items():
        for listener in part["listeners"]:
            if listener["name"] in PUBLIC:
                continue
            assert listener["network"] == "fabric"
            allowed = fabric(made, may_talk(made, host))
            if listener["name"].startswith(("api", "mooncake-bootstrap")):
                allowed |= gateways
            if listener["name"].startswith("kv-events"):
                allowed = subscribers
            if listener["name"].startswith("api"):
                allowed = gateways
            assert addresses(made, listener) <= allowed, listener


@given(names, members)
@EXAMPLES
def test_every_listener_has_one_matrix_row_and_ports_of_its_own(name: str, numbers: list[int]) -> None:
    made = build(name, numbers)
    listeners = sorted((host, item["name"]) for host, part in made["hosts"].items() for item in part["listeners"])
    assert sorted((row["to"], row["listener"]) for row in made["matrix"]) == listeners
    assert len(set(listeners)) == len(listeners)
    assert collisions(made) == []


@given(names, members)
@EXAMPLES
def test_fixed_ports_are_kept_from_the_kernel(name: str, numbers: list[int]) -> None:
    for part in build(name, numbers)["hosts"].values():
        if not part["engines"] and part["ray"] is None:
            continue
        reserved: set[int] = set()
        for text in part["sysctl"].get("net.ipv4.ip_local_reserved_ports", "").split(","):
            if text:
                ports = PortRange.parse(text)
                reserved |= set(range(ports.low, ports.high + 1))
        for listener in part["listeners"]:
            if listener["name"] not in PUBLIC | {"fabric-ephemeral"}:
                ports = PortRange.parse(listener["ports"])
                assert set(range(ports.low, ports.high + 1)) <= reserved


@given(names, members, st.randoms())
@EXAMPLES
def test_the_order_of_hosts_does_not_matter(name: str, numbers: list[int], random: Any) -> None:
    cluster, hosts = declaration(name, numbers)
    order = list(hosts)
    random.shuffle(order)
    shuffled = {host: hosts[host] for host in order}
    assert json.dumps(plan(cluster, hosts, TODAY)) == json.dumps(plan(cluster, shuffled, TODAY))


@given(
    st.sampled_from(["replicas", "several engines on a node", "cache", "events of several engines"]),
    members,
    st.integers(241, 249),
)
@EXAMPLES
def test_a_new_node_changes_nothing_for_hosts_that_are_not_its_peers(name: str, numbers: list[int], new: int) -> None:
    before, after = build(name, numbers), build(name, [*numbers, new])
    for number in numbers:
        assert before["hosts"][f"engine{number}"] == after["hosts"][f"engine{number}"]


@given(members)
@EXAMPLES
def test_a_new_engine_of_two_nodes_changes_nothing_for_the_others(numbers: list[int]) -> None:
    before = build("tensor parallel twice", numbers)
    after = build("tensor parallel twice", [*numbers, 241, 242])
    for number in numbers:
        assert before["hosts"][f"engine{number}"] == after["hosts"][f"engine{number}"]
        assert before["sets"].items() <= after["sets"].items()


@pytest.mark.parametrize("name", sorted(TOPOLOGIES))
def test_no_secret_is_in_a_plan(name: str) -> None:
    secret = "s3cret-value-that-must-not-appear-anywhere"
    made = build(name, [11, 12], tenants=[{"name": "acme", "keys": [{"id": "k1", "value": secret}]}])
    assert secret not in json.dumps(made)


@given(names, members)
@EXAMPLES
def test_every_process_starts_once_and_every_api_is_an_upstream(name: str, numbers: list[int]) -> None:
    made = build(name, numbers)
    started = [(item["host"], item["name"]) for step in made["start_order"] for item in step["processes"]]
    planned = [(host, part["name"]) for host, found in made["hosts"].items() for part in found["engines"]]
    planned += [(host, "ray") for host, found in made["hosts"].items() if found["ray"] is not None]
    assert sorted(started) == sorted(planned)
    apis = {
        (part["api"]["address"], part["api"]["port"])
        for found in made["hosts"].values()
        for part in found["engines"]
        if part["api"] is not None
    }
    upstreams = {(item["address"], item["port"]) for item in made["hosts"]["gateway1"]["gateway"]["upstreams"]}
    assert upstreams == ({("127.0.0.1", 9000)} if "disaggregated" in name else apis)


@pytest.mark.parametrize("name", sorted(TOPOLOGIES))
def test_the_plan_in_words_names_every_listener(name: str) -> None:
    made = build(name, [11, 12])
    text = "\n".join(explain(made))
    for row in made["matrix"]:
        assert f"{row['protocol']} {row['ports']} on " in text


def test_two_listeners_on_one_port_are_found() -> None:
    cluster, hosts = declaration("disaggregated, nixl")
    cluster["transfer"] = {**cluster["transfer"], "side_channel_port": 8000}
    found = [problem.sentence() for problem in validate(cluster, hosts, TODAY) if problem.rule == "listener-collision"]
    assert found == [
        "error [listener-collision] hosts.engine11.listeners.nixl-side-channel: found tcp 8000, which api has (8000); "
        "expected ports of its own for every listener of a host. Move api or nixl-side-channel to other ports."
    ]
