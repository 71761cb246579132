# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What auditors ask from outside (tools/comparison.yml): each rule has a control that finds it broken, each route is asked."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.hardened.vllm.plugins.plugin_utils import catalogue
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit import questions
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.asked import judged
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.controls import control_of_rule, controls
from support import audit

ROOT = Path(__file__).resolve().parents[5]
DATA: dict[str, Any] = yaml.safe_load((ROOT / "tools/comparison.yml").read_text(encoding="utf-8"))
RULES = DATA["remote"]
ROUTES = [(rule["rule"], path) for rule in RULES for path in rule.get("routes", ())]
PLAN = audit.plan()
DOOR = PLAN["hosts"]["gateway1"]["gateway"]
ADDRESS = "198.51.100.7"


def test_the_list_is_whole() -> None:
    assert {rule["rule"] for rule in RULES} == {
        "TLS",
        "CORS",
        "Authentication of OpenAI's routes",
        "Inference outside /v1",
        "Control routes",
        "Tokenize",
        "Docs pages",
        "OpenAPI document",
        "Version",
        "Tokenizer's configuration",
        "Metrics",
        "Load",
        "Development routes",
        "Profiler routes",
    }


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["rule"]))
def test_each_rule_has_a_control(rule: dict[str, Any]) -> None:
    assert rule["controls"] and set(rule["controls"]) <= set(controls())
    assert "routes" in rule or "lint" in rule or rule["rule"] == "TLS"
    if "lint" in rule:
        assert control_of_rule(rule["lint"]) in rule["controls"]


@pytest.mark.parametrize(("rule", "path"), ROUTES)
def test_each_route_is_asked_of_gateways_and_of_what_is_found(rule: str, path: str) -> None:
    assert path in {one["path"] for one in questions.gateway_requests(PLAN, DOOR, None)}, rule
    assert path in {one["path"] for one in questions.open_requests("0.32.0")}, rule


@pytest.mark.parametrize(("rule", "path"), ROUTES)
def test_an_answer_without_a_key_is_found(rule: str, path: str) -> None:
    method = next(one.method for one in catalogue.routes("0.32.0") if one.path == path and one.method != "MOUNT")
    named = set(next(one for one in RULES if one["rule"] == rule)["controls"])
    bare = {"format": 1, "taken": audit.TAKEN, "hosts": {}, "reach": [], "missing": []}
    seen = {
        "format": 1,
        "kind": "routes",
        "observer": "o",
        "standing": "observer",
        "taken": audit.TAKEN,
        "seconds": 1.0,
    }
    open_answer = audit.answer("found", ADDRESS, 8000, method, path, status=200)
    bare["routes"] = [{**seen, "endpoints": [], "answers": [open_answer], "unknown": []}]
    assert {one["control"] for one in judged(bare, {}, [], {}, audit.TODAY)["findings"]} == {"OUT-02"} & named

    behind = copy.deepcopy(audit.evidence(PLAN))
    door = DOOR["listen"][0]
    passed = audit.answer("gateway1", door["address"], door["port"], method, path, status=200)
    behind["routes"][0]["answers"] = [passed]
    found = {one["control"] for one in judged(behind, {"chat": PLAN}, [], {}, audit.TODAY)["findings"]}
    assert found & named & {"GW-03", "GW-05"}, rule


@pytest.mark.parametrize("spoil", [{"tls": False, "certificate": None}, {"speaks": {"TLSv1": True, "TLSv1.1": True}}])
def test_weak_tls_is_found(spoil: dict[str, Any]) -> None:
    evidence = copy.deepcopy(audit.evidence(PLAN))
    evidence["routes"][0]["endpoints"][0] |= spoil
    found = {one["control"] for one in judged(evidence, {"chat": PLAN}, [], {}, audit.TODAY)["findings"]}
    assert found & {"GW-01", "GW-06"}


def test_every_source_is_an_address() -> None:
    for other in DATA["others"]:
        assert other["sources"] and all(address.startswith("https://") for address in other["sources"]), other["name"]
