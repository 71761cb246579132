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
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit import requests as questions
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


def vllm_says(request: dict[str, Any]) -> dict[str, Any]:
    """What vLLM without a key says to a request the audit sends: Starlette names the methods of a route it was asked by another of."""
    methods = {one.method for one in catalogue.routes("0.32.0") if one.path == request["path"]}
    parts = {name: request[name] for name in ("target", "form", "key")}
    if request["method"] in methods or methods & {"MOUNT", "WEBSOCKET"}:
        return {**parts, "status": 200}
    return {**parts, "status": 405, "headers": {"allow": ", ".join(sorted(methods))}, "body": "detail"}


def asked(requests: list[dict[str, Any]], path: str) -> dict[str, Any]:
    return next(one for one in requests if (one["path"], one["form"], one["key"]) == (path, "plain", "none"))


@pytest.mark.parametrize(("rule", "path"), ROUTES)
def test_an_answer_without_a_key_is_found(rule: str, path: str) -> None:
    named = set(next(one for one in RULES if one["rule"] == rule)["controls"])
    request = asked(questions.open_requests("0.32.0"), path)
    found = open_answer(request["method"], path, **vllm_says(request))
    assert {one["control"] for one in found} == {"OUT-02"} & named

    behind = copy.deepcopy(audit.evidence(PLAN))
    door = DOOR["listen"][0]
    request = asked(questions.gateway_requests(PLAN, DOOR, None), path)
    passed = audit.answer("gateway1", door["address"], door["port"], request["method"], path, **vllm_says(request))
    behind["routes"][0]["answers"] = [passed]
    controls_found = {one["control"] for one in judged(behind, {"chat": PLAN}, [], {}, audit.TODAY)["findings"]}
    assert controls_found & named & {"GW-03", "GW-05"}, rule


def open_answer(method: str, path: str, **changes: Any) -> list[dict[str, Any]]:
    """The findings about a server nobody declared that gave one answer."""
    bare = {"format": 1, "taken": audit.TAKEN, "hosts": {}, "reach": [], "missing": []}
    seen = {"format": 1, "kind": "routes", "observer": "o", "standing": "observer", "taken": audit.TAKEN}
    answer = audit.answer("found", ADDRESS, 8000, method, path, **changes)
    bare["routes"] = [{**seen, "seconds": 1.0, "endpoints": [], "answers": [answer], "unknown": []}]
    return list(judged(bare, {}, [], {}, audit.TODAY)["findings"])


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ({"headers": {"allow": "POST"}, "body": "detail"}, ["POST /pause at 198.51.100.7 port 8000"]),
        ({"headers": {"allow": "POST"}, "body": "html"}, ["POST /pause at 198.51.100.7 port 8000"]),
        ({"headers": {}, "body": "detail"}, ["POST /pause at 198.51.100.7 port 8000"]),
        ({"headers": {"allow": "GET, HEAD"}, "body": "html"}, []),  # a proxy that refuses the method itself
        ({"headers": {}, "body": "html"}, []),
        ({"headers": {"allow": "POST"}, "body": "detail", "key": "tenants/acme/k1"}, []),
    ],
)
def test_a_route_that_acts_is_open_when_it_says_how_it_wants_to_be_asked(
    answer: dict[str, Any], wanted: list[str]
) -> None:
    """It is asked with GET, so an open one says 405; that counted for nothing."""
    found = open_answer("GET", "/pause", status=405, **answer)
    assert [(one["control"], one["place"], one["severity"]) for one in found] == [
        ("OUT-02", place, "error") for place in wanted
    ]


@pytest.mark.parametrize("spoil", [{"tls": False, "certificate": None}, {"speaks": {"TLSv1": True, "TLSv1.1": True}}])
def test_weak_tls_is_found(spoil: dict[str, Any]) -> None:
    evidence = copy.deepcopy(audit.evidence(PLAN))
    evidence["routes"][0]["endpoints"][0] |= spoil
    found = {one["control"] for one in judged(evidence, {"chat": PLAN}, [], {}, audit.TODAY)["findings"]}
    assert found & {"GW-01", "GW-06"}


@pytest.mark.parametrize(("allowed", "found"), [("*", 1), ("https://origin.invalid", 1), ("null", 1), ("", 0)])
def test_a_foreign_origin_is_found(allowed: str, found: int) -> None:
    named = {"OUT-07"} & set(next(one for one in RULES if one["rule"] == "CORS")["controls"])
    headers = {**audit.HEADERS, **({"access-control-allow-origin": allowed} if allowed else {})}
    evidence = copy.deepcopy(audit.evidence(PLAN))
    asked = [one for one in questions.gateway_requests(PLAN, DOOR, None) if (one.get("headers") or {}).get("Origin")]
    assert [one["headers"]["Origin"] for one in asked] == ["https://origin.invalid"]
    (answer,) = (one for one in evidence["routes"][0]["answers"] if one["form"] == asked[0]["form"])
    answer["headers"] = headers
    told = judged(evidence, {"chat": PLAN}, [], {}, audit.TODAY)["findings"]
    assert [one["control"] for one in told if one["host"] == "gateway1"] == list(named) * found


def test_a_declared_origin_is_none() -> None:
    made = copy.deepcopy(PLAN)
    made["hosts"]["gateway1"]["gateway"]["cors_origins"] = ["https://chat.example.org"]
    evidence = copy.deepcopy(audit.evidence(made))
    for answer in evidence["routes"][0]["answers"]:
        answer["headers"] = {**answer["headers"], "access-control-allow-origin": "https://chat.example.org"}
    told = judged(evidence, {"chat": made}, [], {}, audit.TODAY)["findings"]
    assert [one for one in told if one["host"] == "gateway1"] == []


def test_every_source_is_an_address() -> None:
    for other in DATA["others"]:
        assert other["sources"] and all(address.startswith("https://") for address in other["sources"]), other["name"]
