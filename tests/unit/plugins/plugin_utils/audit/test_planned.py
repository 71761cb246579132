# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A declaration with errors ends no audit: what can be planned is, the rest is said."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.asked import InvalidQuestionError, expected, former
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.asked import judged as judge
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import InvalidDeclarationError, plan
from ansible_collections.hardened.vllm.plugins.plugin_utils.inventory import audited
from support import audit
from support.topologies import declaration

OVER = {"rule": "release-old", "reason": "the fix is being tested", "owner": "tests", "expires": "2026-11-24"}


def inventory(
    change: Callable[[dict[str, Any], dict[str, Any]], object] | None = None, evidence: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What ``audit_inventory`` makes of a cluster whose declaration or hosts were changed."""
    cluster, hosts = copy.deepcopy(declaration("replicas", (11, 12)))
    if change is not None:
        change(cluster, hosts)
    groups = {"vllm_nodes": ["engine11", "engine12"], "vllm_gateways": ["gateway1"], "all": sorted(hosts)}
    hostvars = {name: {"vllm_cluster": cluster, "vllm_node": host["node"]} for name, host in hosts.items()}
    found = audited(groups, hostvars, evidence or {})
    return {**found, "problems": [problem.as_dict() for problem in found["problems"]]}


def planned(*given: Any) -> dict[str, Any]:
    return expected(inventory(*given), audit.TODAY)


def refused(change: Callable[[dict[str, Any], dict[str, Any]], object]) -> bool:
    """Whether every other playbook refuses it."""
    (cluster,) = inventory(change)["clusters"].values()
    with pytest.raises(InvalidDeclarationError):
        plan(cluster["declaration"], cluster["hosts"], audit.TODAY)
    return True


def test_what_is_valid_is_planned_and_nothing_is_missing() -> None:
    (cluster,) = inventory()["clusters"].values()
    assert planned() == {
        "plans": {"chat": plan(cluster["declaration"], cluster["hosts"], audit.TODAY)},
        "waivers": [],
        "missing": [],
    }


def test_a_waiver_that_is_over_is_the_judges() -> None:
    """It ended the whole audit, whose page says that the report lists it."""

    def change(cluster: dict[str, Any], _hosts: dict[str, Any]) -> None:
        cluster["waivers"] = [OVER]

    assert refused(change)
    found = planned(change)
    assert list(found["plans"]) == ["chat"]
    assert (found["waivers"], found["missing"]) == ([OVER], [])


def test_a_waiver_that_cannot_be_read_is_said_and_the_others_hold() -> None:
    def change(cluster: dict[str, Any], _hosts: dict[str, Any]) -> None:
        cluster["waivers"] = [{**OVER, "expires": "2027-01-01"}, {"rule": "NET-01"}, 5]

    assert refused(change)
    found = planned(change)
    assert list(found["plans"]) == ["chat"]
    assert [one["expires"] for one in found["waivers"]] == ["2027-01-01"]
    reasons = " ".join(one["reason"] for one in found["missing"])
    assert {one["part"] for one in found["missing"]} == {"declaration"}
    assert "vllm_cluster.waivers[1].owner" in reasons and "vllm_cluster.waivers[2]" in reasons


def test_what_is_dangerous_is_planned_nevertheless_and_said() -> None:
    def change(cluster: dict[str, Any], _hosts: dict[str, Any]) -> None:
        cluster["engine"] = {**cluster.get("engine", {}), "environment": {"VLLM_SERVER_DEV_MODE": True}}

    assert refused(change)
    found = planned(change)
    assert list(found["plans"]) == ["chat"]
    assert ["env-dev-mode" in one["reason"] for one in found["missing"]] == [True]


def test_without_a_plan_each_host_is_named_with_the_cause() -> None:
    def change(cluster: dict[str, Any], hosts: dict[str, Any]) -> None:
        hosts["engine11"]["node"]["addresses"]["fabric"] = ["198.51.100.9"]
        del cluster["admin"]

    assert refused(change)
    found = planned(change)
    assert found["plans"] == {}
    assert [(one["host"], one["part"]) for one in found["missing"]] == [
        (name, "plan") for name in ("engine11", "engine12", "gateway1")
    ]
    assert all("198.51.100.9" in one["reason"] and "vllm_cluster.admin" in one["reason"] for one in found["missing"])


def test_a_host_declared_differently_has_no_plan_and_the_others_have() -> None:
    found = inventory()
    (cluster,) = found["clusters"].values()
    del cluster["hosts"]["engine12"]
    found["problems"] = [{"path": "hosts.engine12.vllm_cluster", "message": "declared differently"}]
    told = expected(found, audit.TODAY)
    assert list(told["plans"]) == ["chat"]
    assert told["missing"] == [{"host": "engine12", "part": "plan", "reason": "declared differently"}]


def test_what_only_a_plan_could_tell_is_not_checked_without_one() -> None:
    made = audit.plan()
    evidence = audit.evidence(made)
    why = "no plan can be made of its declaration"
    evidence["missing"] = [{"host": name, "part": "plan", "reason": why} for name in made["hosts"]]
    result = judge(evidence, {}, [], {}, audit.TODAY)
    told = {(one["control"], one["host"]): one for one in result["outcomes"]}
    assert not {one["outcome"] for one in told.values()} & {"not applicable"}
    for control in ("NET-01", "NET-12", "GW-03", "ENG-18"):
        assert (told[control, "gateway1"]["outcome"], told[control, "gateway1"]["why"]) == ("not checked", [why])
    assert result["verdict"]["word"] != "passed"
    assert {one["name"]: one["why"] for one in result["hosts"]}["gateway1"] == why
    assert result["missing"] == evidence["missing"]


def test_a_host_without_a_declared_address_is_a_finding() -> None:
    cluster, hosts = declaration("replicas", (11, 12))
    made = plan(cluster, hosts, audit.TODAY)
    evidence = audit.evidence(audit.plan("replicas"))
    (address,) = (
        pair["ipv4"] for network, pair in made["hosts"]["engine11"]["addresses"].items() if network == "fabric"
    )
    del evidence["hosts"]["engine11"]["addresses"][address]

    def change(_cluster: dict[str, Any], every: dict[str, Any]) -> None:
        for one in every.values():
            one["node"].pop("interfaces", None)

    given = planned(change, evidence["hosts"])
    assert list(given["plans"]) == ["chat"] and given["missing"] == []
    result = judge(evidence, given["plans"], [], {}, audit.TODAY)
    found = [(one["host"], one["place"], one["found"]) for one in result["findings"] if one["control"] == "NET-15"]
    assert found == [("engine11", "address on fabric", f"no interface with {address}")]
    passed = {one["host"] for one in result["outcomes"] if (one["control"], one["outcome"]) == ("NET-15", "passed")}
    assert passed == {"engine12", "gateway1"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the former result is no JSON"),
        ('{"format": 1,', "the former result is no JSON"),
        ("[]", r"the former result is \[\]; expected a mapping"),
        ('{"format": 7}', "the former result has format 7; expected 1"),
        ('{"format": 1}', "the former result.taken is missing: it is not as hardened.vllm.audit_judge returns it"),
    ],
)
def test_a_former_report_that_is_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidQuestionError, match=message):
        former(text)


def test_a_former_report_is_read() -> None:
    result = judge(audit.evidence(audit.plan()), {}, [], {}, audit.TODAY)
    assert former(json.dumps(result)) == result


def test_an_inventory_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidQuestionError, match="the input has no clusters"):
        expected({}, audit.TODAY)
