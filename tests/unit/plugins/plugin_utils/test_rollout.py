# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which engines change, who waits for whom, and what a failed step leaves."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.hardened.vllm.plugins.filter.rollout import _rollout
from ansible_collections.hardened.vllm.plugins.filter.rollout_verdict import _rollout_verdict
from ansible_collections.hardened.vllm.plugins.plugin_utils import rollout

LOOK = {"restart": True, "serves": True, "likelihood": [-1.0, -2.0], "start_seconds": 0.0}


def process(engine: str) -> dict[str, Any]:
    api = {"address": "10.0.0.1", "port": 8000}
    return {"name": "engine", "api": api, "group_name": engine, "ready": {"timeout_seconds": 900}}


def members(hosts: dict[str, Any]) -> dict[str, list[str]]:
    """The nodes of each engine, as the plan of the cluster names them."""
    found: dict[str, list[str]] = {}
    for node, part in hosts.items():
        for one in part["engines"]:
            found.setdefault(one["group_name"], []).append(node)
    return found


def steps(hosts: dict[str, Any], looks: dict[str, rollout.Look], drained: dict[str, str]) -> list[rollout.Step]:
    return rollout.steps(hosts, members(hosts), looks, drained)


def hosts(engines: dict[str, list[str]], upstreams: dict[str, str | None] | None = None) -> dict[str, Any]:
    """Parts of a plan: engines by name with their nodes, and upstreams with their engine (each engine's first node)."""
    if upstreams is None:
        upstreams = {nodes[0]: name for name, nodes in engines.items()}
    found: dict[str, Any] = {
        node: {"engines": [process(name)], "gateway": None} for name, nodes in engines.items() for node in nodes
    }
    named = [{"name": name, "engine": engine} for name, engine in upstreams.items()]
    found["gateway"] = {"engines": [], "gateway": {"upstreams": named}}
    return found


def look(**changes: Any) -> rollout.Look:
    return rollout.combine([{**LOOK, **changes}])


PAIR = hosts({"a": ["n1"], "b": ["n2"]})


def test_two_replicas_change_one_after_the_other() -> None:
    first, second = steps(PAIR, {"a": look(), "b": look()}, {})
    assert (first["engine"], first["drain"], first["readmit"], first["alone"]) == ("a", ["n1"], ["n1"], False)
    assert (second["engine"], second["drain"], second["alone"]) == ("b", ["n2"], False)
    assert second["processes"] == {"n2": {"name": "engine", "api": {"address": "10.0.0.1", "port": 8000}}}
    assert rollout.interruption([first, second], {"a": look(), "b": look()}, 600) == ""


def test_gateways_with_engines_of_their_own_each_have_nobody_else() -> None:
    """Where engines serve on sockets: what drains one engine drains it at its own gateway, whose clients have no other."""
    apart = hosts({"a": ["n1"], "b": ["n2"]}, {})
    del apart["gateway"]
    for node, name in (("n1", "a"), ("n2", "b")):
        apart[node]["gateway"] = {"upstreams": [{"name": node, "engine": name}]}
    first, second = steps(apart, {"a": look(), "b": look()}, {})
    assert (first["drain"], first["alone"]) == (["n1"], True)
    assert (second["drain"], second["alone"]) == (["n2"], True)
    apart["n1"]["gateway"]["upstreams"].append({"name": "n1-1", "engine": "c"})
    apart["n1"]["engines"].append(process("c"))
    found = steps(apart, {"a": look(), "b": look(), "c": look()}, {})
    assert {step["engine"]: step["alone"] for step in found} == {"a": False, "b": True, "c": False}


def test_what_is_as_declared_is_not_drained() -> None:
    first, second = steps(PAIR, {"a": look(restart=False), "b": look()}, {})
    assert (first["engine"], first["restart"], first["drain"], first["readmit"]) == ("a", False, [], [])
    assert second["drain"] == ["n2"]


def test_an_engine_that_serves_nobody_goes_first() -> None:
    looks = {"a": look(), "b": look(serves=False, likelihood=[])}
    found = steps(PAIR, looks, {})
    assert [step["engine"] for step in found] == ["b", "a"]
    assert [step["alone"] for step in found] == [False, True], "a change of b that fails would leave a alone"
    assert [step["engine"] for step in steps(PAIR, {"a": look(), "b": look()}, {"n2": "operator"})] == [
        "b",
        "a",
    ]


def test_what_an_operator_drained_stays_drained_and_what_a_change_drained_comes_back() -> None:
    looks = {"a": look(restart=False), "b": look(restart=False)}
    found = {step["engine"]: step for step in steps(PAIR, looks, {"n1": "operator", "n2": "change"})}
    assert (found["a"]["drain"], found["a"]["readmit"]) == ([], [])
    assert (found["b"]["drain"], found["b"]["readmit"]) == ([], ["n2"])
    found = {step["engine"]: step for step in steps(PAIR, {"a": look(), "b": look()}, {"n1": ""})}
    assert (found["a"]["drain"], found["a"]["readmit"], found["a"]["alone"]) == ([], [], False)
    assert found["b"]["alone"], "the other one takes no requests"


def test_all_ranks_and_all_upstreams_of_an_engine_go_together() -> None:
    parts = hosts({"0": ["n1", "n2"], "1": ["n3", "n4"]}, {"n1": "0", "n2": "0", "n3": "1", "n4": "1"})
    first, second = steps(parts, {"0": look(), "1": look()}, {})
    assert (first["members"], first["drain"]) == (["n1", "n2"], ["n1", "n2"])
    assert second["members"] == ["n3", "n4"]


def test_one_replica_says_how_long_it_is_away() -> None:
    alone = hosts({"a": ["n1"]})
    looks = {"a": look(start_seconds=143.2)}
    found = steps(alone, looks, {})
    said = rollout.interruption(found, looks, 600)
    assert found[0]["alone"]
    assert "Engine a has no other" in said and "took 143 s" in said and "600 s" in said and "900 s at most" in said
    assert "not known here" in rollout.interruption(found, {"a": look()}, 600)
    assert not steps(alone, {"a": look(serves=False)}, {})[0]["alone"], "nobody is served now"


def test_an_engine_behind_a_router_of_others_is_alone() -> None:
    parts = hosts({"prefill-0": ["n1"], "decode-0": ["n2"]}, {"router": None})
    assert [step["alone"] for step in steps(parts, {"prefill-0": look(), "decode-0": look()}, {})] == [
        True,
        True,
    ]


def test_a_dead_engine_is_compared_with_a_living_one() -> None:
    found = steps(PAIR, {"a": look(likelihood=[]), "b": look(likelihood=[-3.0])}, {})
    assert [step["expected"] for step in found] == [[-3.0], [-3.0]]


def test_an_engine_is_what_its_nodes_are_together() -> None:
    seen = rollout.combine(
        [{**LOOK, "restart": False, "likelihood": []}, {**LOOK, "serves": False, "start_seconds": 9}]
    )
    assert seen == {"restart": True, "serves": False, "likelihood": [-1.0, -2.0], "start_seconds": 9.0}


def state(engine: str = "b", serves: bool = True, failure: str = "") -> dict[str, Any]:
    return {"engine": engine, "serves": serves, "failure": failure}


@pytest.mark.parametrize(
    ("states", "serves", "words"),
    [
        ({"n2": state()}, True, []),
        (
            {"n2": state(failure="the disk is full")},
            True,
            ["Stopped at engine b.", "n2: the disk is full", "takes requests as before", "serving: a. Not touched: c."],
        ),
        ({"n2": state(serves=False, failure="x"), "n3": state(failure="x")}, False, ["n2, n3: x", "gets no requests"]),
        ({"n2": state(), "n3": None}, False, ["n3: the node was lost on the way"]),
        ({"n2": state(engine="a")}, False, ["n2: the node was lost on the way"]),
    ],
)
def test_a_failed_step_says_what_stands(states: dict[str, Any], serves: bool, words: list[str]) -> None:
    found = rollout.verdict("b", states, ["a", "b", "c"])
    assert found["serves"] is serves
    assert bool(found["message"]) is bool(words)
    for word in words:
        assert word in found["message"]


def hostvars(cluster: str = "chat") -> dict[str, Any]:
    shared = {"cluster": cluster, "members": members(PAIR)}
    found = {name: {"preflight_plan": {"cluster": shared, "host": part}} for name, part in PAIR.items()}
    found["n1"]["engine_look"] = {"a": LOOK}
    found["n2"]["engine_look"] = {"b": {**LOOK, "restart": False}}
    return found


def test_the_filter_reads_what_the_hosts_said() -> None:
    found = _rollout(["n1", "n2", "gateway"], hostvars())
    assert [(step["engine"], step["restart"]) for step in found["steps"]] == [("b", False), ("a", True)]
    assert found["away"] == ""
    states = {**hostvars(), "n1": {"upgrade_state": state("a")}}
    assert _rollout_verdict(found["steps"][1], states, ["n1"], found["steps"])["message"] == ""
    assert "lost" in _rollout_verdict(found["steps"][1], states, [], found["steps"])["message"]


@pytest.mark.parametrize(
    ("chosen", "values", "message"),
    [
        (["n1"], hostvars(), "missing n2, its gateways;"),
        (["n1", "gateway"], hostvars(), "missing n2;"),
        (["n1", "gateway"], hostvars(), "one cluster changes at a time"),
        ([], hostvars(), "found none"),
        ("n1", hostvars(), "expected a list of hosts"),
    ],
)
def test_a_part_of_a_cluster_is_refused(chosen: Any, values: dict[str, Any], message: str) -> None:
    if message.startswith("one"):
        values["n1"] = hostvars("other")["n1"]
    with pytest.raises(AnsibleFilterError, match=message):
        _rollout(chosen, values)


@pytest.mark.parametrize("in_run", [["n1", "n2", "gateway"], ["n2", "gateway"]], ids=["quarantine", "dead"])
def test_an_engine_that_is_left_out_has_no_step_and_gets_no_requests(in_run: list[str]) -> None:
    values = hostvars()
    values["n2"]["engine_look"] = {"b": LOOK}
    found = _rollout(in_run, values, spared=["n1"])
    assert [step["engine"] for step in found["steps"]] == ["b"]
    assert "Engine b has no other that serves in its place." in found["away"], "what is left out serves nobody"
    assert (found["left_out"], found["silence"]) == (["a"], ["n1"])
    assert "Engine a was left out because of n1: it keeps the release and the keys it has" in found["notice"]
    assert _rollout(in_run, values, {"n1": "operator"}, spared=["n1"])["silence"] == [], "it is drained already"
    assert _rollout(["n1", "n2", "gateway"], values)["notice"] == ""


def test_an_engine_is_left_out_with_all_its_nodes() -> None:
    parts = hosts({"a": ["n1", "n2"], "b": ["n3"]})
    shared = {"cluster": "chat", "members": members(parts)}
    values = {name: {"preflight_plan": {"cluster": shared, "host": part}} for name, part in parts.items()}
    values["n3"]["engine_look"] = {"b": LOOK}
    found = _rollout(["n1", "n3", "gateway"], values, spared=["n2"])
    assert ([step["engine"] for step in found["steps"]], found["left_out"], found["silence"]) == (["b"], ["a"], ["n1"])


def test_what_was_left_out_comes_back_with_a_later_change() -> None:
    first = steps(PAIR, {"a": look(restart=False), "b": look(restart=False)}, {"n1": rollout.BY_CHANGE})[0]
    assert (first["engine"], first["readmit"]) == ("a", ["n1"])


def test_a_change_that_leaves_everything_out_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="no engine is left to change: n1, n2 are in quarantine or left out"):
        _rollout(["n1", "n2", "gateway"], hostvars(), spared=["n2", "n1"])
