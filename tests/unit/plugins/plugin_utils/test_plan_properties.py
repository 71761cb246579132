# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for the plan of every topology, whatever the number and the order of its hosts."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import InvalidDeclarationError, plan, validate
from ansible_collections.hardened.vllm.plugins.plugin_utils.declaration.model import PortRange
from ansible_collections.hardened.vllm.plugins.plugin_utils.report.explain import explain
from hypothesis import given, settings
from hypothesis import strategies as st
from support import properties
from support.mistakes import put
from support.topologies import TOPOLOGIES, declaration

from .conftest import TODAY

# Twos, so that prefill and decode and engines of two nodes come out even.
members = st.lists(st.integers(10, 240), min_size=2, max_size=8, unique=True).map(
    lambda found: found[: len(found) // 2 * 2]
)
others = st.lists(st.integers(1, 9) | st.integers(241, 249), min_size=2, max_size=2, unique=True)
names = st.sampled_from(sorted(TOPOLOGIES))
EXAMPLES = settings(deadline=None, max_examples=60)


@st.composite
def clusters(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """A declaration of any topology, with engines alone or with everything that can be declared beside them."""
    made = declaration(draw(names), draw(members))
    return properties.furnished(*made) if draw(st.booleans()) else made


def grown(name: str, numbers: list[int], new: list[int], furnished: bool) -> tuple[tuple[Any, Any, Any], ...]:
    """The declaration and the plan before and after the engine hosts ``new`` were added."""
    sides = []
    for chosen in (numbers, [*numbers, *new]):
        cluster, hosts = declaration(name, chosen)
        if furnished:
            cluster, hosts = properties.furnished(cluster, hosts)
        sides.append((cluster, hosts, plan(cluster, hosts, TODAY)))
    return tuple(sides)


@pytest.mark.parametrize("name", sorted(TOPOLOGIES))
@pytest.mark.parametrize("furnished", [False, True], ids=["engines alone", "furnished"])
def test_every_topology_is_sound(name: str, furnished: bool) -> None:
    made = declaration(name)
    cluster, hosts = properties.furnished(*made) if furnished else made
    found = {problem.rule for problem in validate(cluster, hosts, TODAY) if problem.severity.name != "INFO"}
    assert found == {"release-old"}  # the newest release whose facts are known has advisories of its own


@given(clusters())
@EXAMPLES
def test_internal_sockets_are_open_to_peers_only(declared: tuple[Any, Any]) -> None:
    assert properties.open_to_strangers(*declared, plan(*declared, TODAY)) == []


@given(clusters())
@EXAMPLES
def test_every_listener_has_one_rule_and_one_matrix_row(declared: tuple[Any, Any]) -> None:
    assert properties.without_one_rule_and_row(plan(*declared, TODAY)) == []


@given(clusters())
@EXAMPLES
def test_no_two_listeners_of_a_host_collide(declared: tuple[Any, Any]) -> None:
    assert properties.sharing_a_port(plan(*declared, TODAY)) == []


@given(clusters(), st.integers())
@EXAMPLES
def test_the_order_of_hosts_does_not_matter(declared: tuple[Any, Any], seed: int) -> None:
    cluster, hosts = declared
    order = list(hosts)
    random.Random(seed).shuffle(order)  # noqa: S311 - an order to try
    made, shuffled = (plan(cluster, {host: hosts[host] for host in names}, TODAY) for names in (hosts, order))
    assert properties.differences(made, shuffled) == []
    assert json.dumps(made) == json.dumps(shuffled)


@given(names, members, others, st.booleans())
@EXAMPLES
def test_a_new_node_changes_nothing_for_hosts_that_are_not_its_peers(
    name: str, numbers: list[int], new: list[int], furnished: bool
) -> None:
    assert properties.changed_without_cause(*grown(name, numbers, new, furnished)) == []


@pytest.mark.parametrize(
    "name", ["replicas", "several engines on a node", "tensor parallel twice", "cache", "events of several engines"]
)
@pytest.mark.parametrize("new", [[1, 2], [21, 22], [241, 242]], ids=["before", "between", "after"])
def test_engines_of_their_own_are_not_touched(name: str, new: list[int]) -> None:
    """The former property, where it must not pass because every host is a peer."""
    before, after = grown(name, [11, 12, 31, 32], new, furnished=True)
    for number in (11, 12, 31, 32):
        assert before[2]["hosts"][f"engine{number}"] == after[2]["hosts"][f"engine{number}"]
    assert properties.changed_without_cause(before, after) == []


SECRETS = [
    "cluster/tenants/0/keys/0/value",
    "cluster/tenants/0/keys/0",
    "cluster/tenants/0/keys",
    "cluster/tenants/0",
    "cluster/tenants",
    "cluster/engine/environment/HF_TOKEN",
    "cluster/engine/environment/VLLM_API_KEY",
    "cluster/engine/environment/AWS_SECRET_ACCESS_KEY",
    "cluster/engine/environment/STORE_PASSWORD",
    "cluster/engine/environment/HUGGING_FACE_HUB_TOKEN",
    "cluster/engine/arguments/api-key",
    "cluster/engine/arguments/api_key",
    "cluster/engine/arguments/hf-token",
    "cluster/engine/arguments/model-loader-extra-config.secret_key",
]
FORMS = {
    "cluster/engine/environment/OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer {}",
    "cluster/engine/environment/STORE": "https://me:{}@store.example.org/",
    "cluster/engine/arguments/otlp-traces-endpoint": "http://{}@10.20.9.1:4317",
    "cluster/engine/arguments/model-loader-extra-config": '{{"store": [{{"password": "{}"}}]}}',
    "cluster/install/index_url": "https://me:{}@packages.example.org/simple",
    "cluster/install/find_links": "ftp://me:{}@packages.example.org/",
    "cluster/gateway/tls/key": "-----BEGIN PRIVATE KEY-----\n{}\n",
    "cluster/tenants/0/keys/0/file": "{}\n",
}
WAYS = [(path, "{}") for path in SECRETS] + sorted(FORMS.items())


@given(
    clusters(), st.sampled_from(WAYS), st.text("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", min_size=40)
)
@settings(EXAMPLES, max_examples=150)
def test_no_secret_is_in_a_plan_or_a_message(declared: tuple[Any, Any], way: tuple[str, str], secret: str) -> None:
    cluster, hosts = declared
    put(way[0], way[1].format(secret[:60]))(cluster, hosts)
    texts = [problem.sentence() for problem in validate(cluster, hosts, TODAY)]
    try:
        made = plan(cluster, hosts, TODAY)
        texts += [json.dumps(made), *explain(made)]
    except InvalidDeclarationError as error:
        texts.append(str(error))
    assert properties.leaks(secret[:60], *texts) == []


@given(clusters())
@EXAMPLES
def test_fixed_ports_are_kept_from_the_kernel(declared: tuple[Any, Any]) -> None:
    for part in plan(*declared, TODAY)["hosts"].values():
        if not part["engines"] and part["ray"] is None:
            continue
        reserved: set[int] = set()
        for text in part["sysctl"].get("net.ipv4.ip_local_reserved_ports", "").split(","):
            if text:
                ports = PortRange.parse(text)
                reserved |= set(range(ports.low, ports.high + 1))
        for listener in part["listeners"]:
            if listener["name"] not in properties.OUTWARD | {"fabric-ephemeral"}:
                ports = PortRange.parse(listener["ports"])
                assert set(range(ports.low, ports.high + 1)) <= reserved


@given(clusters())
@EXAMPLES
def test_every_process_starts_once_and_every_api_is_an_upstream(declared: tuple[Any, Any]) -> None:
    made = plan(*declared, TODAY)
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
    assert upstreams == ({("127.0.0.1", 9000)} if "transfer" in declared[0] else apis)


@pytest.mark.parametrize("name", sorted(TOPOLOGIES))
def test_the_plan_in_words_names_every_listener(name: str) -> None:
    made = plan(*properties.furnished(*declaration(name, [11, 12])), TODAY)
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
