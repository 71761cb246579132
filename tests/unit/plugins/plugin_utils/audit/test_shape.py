# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evidence and results somebody else wrote: refused with the place that is wrong, or judged; and what is our own fault is not called theirs."""

from __future__ import annotations

import copy
import datetime
import json
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit import asked
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.asked import (
    judged,
    reported,
    requested,
    tried,
)
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.checks import CHECKS
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.gathering import gathered
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.result import Result
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.shape import Form, InvalidQuestionError, first_fault
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.view import View
from ansible_collections.hardened.vllm.plugins.plugin_utils.report.audit.formats import FORMATS
from support import audit, audit_result

PLAN = audit.plan()
GONE = object()
HOSTILE: tuple[Any, ...] = (None, -1, "x", [], {"a": 1}, GONE)
SCHEMA = Path(__file__).resolve().parents[5] / "docs/audit.schema.json"


class Inner(TypedDict):
    port: Annotated[int, Form("a port", lambda number: 0 <= number <= 65535)]
    name: str | None


class Outer(TypedDict):
    inner: list[Inner]
    share: float
    flags: dict[str, bool]
    rest: Any


FINE: dict[str, Any] = {"inner": [{"port": 1, "name": None}], "share": 1, "flags": {"a": True}, "rest": object()}


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (FINE, None),
        ({**FINE, "more": 1}, None),
        ([], "it is []; expected a mapping"),
        ({**FINE, "inner": None}, "it.inner is None; expected a list"),
        ({**FINE, "inner": [{"port": 1}]}, "it.inner[0].name is missing"),
        ({**FINE, "inner": [{"port": True, "name": ""}]}, "it.inner[0].port is True; expected a whole number"),
        ({**FINE, "inner": [{"port": 70000, "name": ""}]}, "it.inner[0].port is 70000; expected a port"),
        ({**FINE, "inner": [{"port": 7, "name": 8}]}, "it.inner[0].name is 8; expected a text"),
        ({**FINE, "share": True}, "it.share is True; expected a number"),
        ({**FINE, "flags": {"a": 1}}, "it.flags['a'] is 1; expected true or false"),
        ({**FINE, "flags": {2: True}}, "it.flags, a key is 2; expected a text"),
    ],
)
def test_the_first_fault_is_named(value: Any, fault: str | None) -> None:
    assert first_fault(value, Outer, "it") == fault


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value in JSON."""
    if path:
        yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield from places(inner, (*path, key))


def kinds(value: Any) -> list[tuple[Any, ...]]:
    """Return one way to each kind of value: of the entries of a list, and of hosts, those whose ways differ."""
    found: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for path in places(value):
        found.setdefault(tuple("#" if isinstance(key, int) else key for key in path), path)
    return list(found.values())


def spoilt(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    """Return a copy in which ``by`` stands at ``path``."""
    found = copy.deepcopy(value)
    at = found
    for key in path[:-1]:
        at = at[key]
    if by is GONE:
        del at[path[-1]]
    else:
        at[path[-1]] = by
    return found


def small() -> dict[str, Any]:
    """Evidence of every kind, of few hosts."""
    evidence = audit.evidence(PLAN)
    evidence["hosts"] = {name: evidence["hosts"][name] for name in ("engine11", "gateway1")}
    evidence["hosts"]["gateway1"]["files"] = evidence["hosts"]["gateway1"]["units"] = None
    evidence["hosts"]["gateway1"]["nftables"] = foreign_rules()
    evidence["hosts"]["gateway1"]["unknown"] = [{"fact": "files", "reason": "x"}]
    evidence["missing"] = [{"host": "engine12", "part": "host", "reason": "unreachable"}]
    evidence["reach"] = evidence["reach"][:1]
    evidence["reach"][0]["reached"][0]["open"] = [8000]
    seen = evidence["routes"][0]
    seen["answers"] = [*seen["answers"][:3], *seen["answers"][-3:]]
    return evidence


def foreign_rules() -> list[dict[str, Any]]:
    table = {"family": "ip", "table": "nat"}
    hook = {"type": "nat", "hook": "prerouting", "prio": -100, "policy": "accept"}
    named = audit.match("payload", "tcp", "dport", "@published")
    return [
        {"chain": {**table, "name": "PREROUTING", **hook}},
        {"set": {**table, "name": "published", "elem": [9000, {"elem": {"val": 9001, "timeout": 5}}]}},
        {"rule": {**table, "chain": "PREROUTING", "expr": [named, {"dnat": {"addr": "10.0.0.1"}}]}},
    ]


def test_whatever_evidence_holds_the_answer_is_a_judgement_or_the_place_that_is_wrong() -> None:
    evidence = small()
    assert judged(evidence, {"chat": PLAN}, [], {}, audit.TODAY)["findings"]
    refused = 0
    for number, path in enumerate(kinds(evidence)):
        for by in HOSTILE[number % 3 :: 3]:
            try:
                judged(spoilt(evidence, path, by), {"chat": PLAN}, [], {}, audit.TODAY)
            except InvalidQuestionError as error:
                assert str(error).startswith("the evidence"), (path, by, error)
                assert str(path[0]) in str(error), (path, by, error)
                refused += 1
    assert refused > 200


def test_whatever_evidence_holds_the_questions_are_some_or_the_place_that_is_wrong() -> None:
    evidence = {name: small()[name] for name in ("hosts", "reach")}
    evidence["hosts"]["engine11"]["namespaces"][0]["addresses"] = ["10.20.0.11"]
    refused = 0
    for number, path in enumerate(path for path in kinds(evidence) if len(path) > 1):
        for by in HOSTILE[number % 3 :: 3]:
            given = spoilt(evidence, path, by)
            try:
                tried("o", "observer", given["hosts"], {}, {"chat": PLAN}, "1-65535")
                requested("o", given["hosts"], {"chat": PLAN}, given["reach"], None, False)
            except InvalidQuestionError as error:
                assert str(error).startswith(str(path[0])), (path, by, error)
                refused += 1
    assert refused > 200


@pytest.mark.parametrize(("declared", "plans", "fault"), [
    ({"a": ["x"]}, {}, r"declared\['a'\]\[0\] is 'x'; expected an IP address: it is not as hardened.vllm.audit_inventory"),
    ({"a": 5}, {}, r"declared\['a'\] is 5; expected a list"),
    ({}, {"chat": []}, r"plans\[chat\] is no plan"),
    ({}, {"chat": {**PLAN, "format": 1}}, r"plans\[chat\] has format 1"),
])  # fmt: skip
def test_what_the_questions_are_made_of_is_looked_at(declared: Any, plans: Any, fault: str) -> None:
    with pytest.raises(InvalidQuestionError, match=fault):
        tried("o", "observer", {}, declared, plans, "1-65535")


def test_a_host_that_says_what_no_module_says_is_missing_and_ends_nothing() -> None:
    """Its port that is none ended the audit of every host before, in the filter that says what is tried."""
    good = small()["hosts"]
    bad = spoilt(good["engine11"], ("listeners", 0, "port"), "x")
    looks = {"engine11": {"evidence": bad}, "gateway1": {"evidence": good["gateway1"]}}
    found = gathered(looks, {"o": {"evidence": 5}}, {}, datetime.datetime.now(datetime.UTC))
    assert list(found["hosts"]) == ["gateway1"]
    assert [(one["host"], one["part"], one["reason"]) for one in found["missing"]] == [
        (
            "engine11",
            "host",
            "the evidence.listeners[0].port is 'x'; expected a whole number: it is not as the module returns it",
        ),
        ("o", "reach", "the evidence is 5; expected a mapping: it is not as the module returns it"),
    ]
    assert tried("o", "observer", found["hosts"], {}, {"chat": PLAN}, "1-65535") == []
    with pytest.raises(InvalidQuestionError, match=r"hosts\['engine11'\]\.listeners\[0\]\.port is 'x'"):
        tried("o", "observer", {"engine11": bad}, {}, {}, "1-65535")


def test_whatever_a_result_holds_there_is_a_report_or_the_place_that_is_wrong() -> None:
    result = audit_result.result()
    result["outcomes"] = list({one["outcome"]: one for one in result["outcomes"]}.values())
    for path in kinds(result):
        for by in (*HOSTILE, "failed", "passed"):
            for form in FORMATS:
                try:
                    reported(spoilt(result, path, by), form)
                except InvalidQuestionError as error:
                    assert str(error).startswith("the result"), (path, by, error)
                    break


def test_a_former_result_is_looked_at_before_it_is_compared_with() -> None:
    with pytest.raises(InvalidQuestionError, match=r"the former result\.findings\[0\]\.id is 5; expected a text"):
        former = spoilt(audit_result.result(), ("findings", 0, "id"), 5)
        judged(small(), {"chat": PLAN}, [], {}, audit.TODAY, former)


@pytest.mark.parametrize("fault", [KeyError("ours"), TypeError("ours"), AttributeError("ours"), ValueError("ours")])
def test_a_fault_of_our_own_is_not_called_malformed_evidence(monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    def broken(view: View) -> Iterator[Any]:
        if view:
            raise fault
        yield

    monkeypatch.setitem(CHECKS, "rdma_devices", broken)
    with pytest.raises(type(fault), match="ours") as raised:
        judged(small(), {"chat": PLAN}, [], {}, audit.TODAY)
    assert raised.value is fault
    monkeypatch.setitem(asked.FORMATS, "text", lambda given: "".join(broken(given)))
    with pytest.raises(type(fault), match="ours"):
        reported(audit_result.result(), "text")


def test_the_result_has_the_keys_of_its_schema() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))

    def same(kind: Any, described: dict[str, Any], where: str) -> None:
        described = schema["$defs"][described["$ref"].rpartition("/")[2]] if "$ref" in described else described
        inner = [one for one in getattr(kind, "__args__", ()) if one is not str or kind == list[str]]
        if hasattr(kind, "__required_keys__"):
            assert set(described["required"]) == set(kind.__annotations__), where
            for key, value in typing.get_type_hints(kind).items():
                if "properties" in described:
                    same(value, described["properties"][key], f"{where}.{key}")
        elif inner and "items" in described:
            same(inner[0], described["items"], where)
        elif inner and isinstance(described.get("additionalProperties"), dict):
            same(inner[0], described["additionalProperties"], where)

    same(Result, schema, "result")


def named_map(target: str) -> dict[str, Any]:
    return {"vmap": {"key": {"payload": {"protocol": "tcp", "field": "dport"}}, "data": target}}


@pytest.mark.parametrize(
    "statement",
    [
        named_map("@theirs"),
        {"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["new", {"accept": None}]]}}},
        {"vmap": {"key": {"meta": {"key": "mark"}}, "data": {"set": [[1, {"accept": None}]]}}},
        {
            "vmap": {
                "key": {"payload": {"protocol": "tcp", "field": "dport"}},
                "data": {"set": [["x", {"accept": None}]]},
            }
        },
    ],
)
def test_a_map_nobody_can_read_ahead_of_ours_is_found(statement: dict[str, Any]) -> None:
    evidence = small()
    rule = {"family": "inet", "table": "hardened_vllm", "chain": "input", "expr": [statement]}
    evidence["hosts"]["engine11"]["nftables"].append({"rule": rule})
    result = judged(evidence, {"chat": PLAN}, [], {}, audit.TODAY)
    places = {one["place"] for one in result["findings"] if (one["control"], one["host"]) == ("NET-09", "engine11")}
    assert places == {"chain input, a verdict map"}


def test_a_port_published_by_a_named_set_is_found() -> None:
    """Until named sets were looked up, such a rule of somebody else ended the audit as malformed evidence."""
    result = judged(small(), {}, [], {}, audit.TODAY)
    assert "tcp 9000-9001 by chain PREROUTING of table ip nat" in {one["place"] for one in result["findings"]}
