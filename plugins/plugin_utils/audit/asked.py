# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The questions Ansible puts to the audit: what came in is checked here, and refused in words."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from ..inventory import audited
from ..planning.plan import FORMAT as PLAN_FORMAT
from ..problems import did_you_mean, shown
from ..report.audit.formats import FORMATS, digests
from .controls import controls
from .evidence import FORMAT as EVIDENCE_FORMAT
from .evidence import Address, Evidence, HostEvidence, ReachEvidence
from .judge import judge
from .planned import planned
from .questions import asks, targets
from .result import FAILED, FORMAT, PASSED, Result
from .shape import InvalidQuestionError, first_fault
from .waivers import InvalidWaiverError, read

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


def judged(
    evidence: Mapping[str, Any],
    plans: Mapping[str, Any],
    waivers: Sequence[Any],
    secrets: Mapping[str, Any],
    today: datetime.date,
    previous: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the result of an audit; ``secrets`` maps names to digests. Raises InvalidQuestionError."""
    _need(evidence, EVIDENCE_FORMAT, Evidence, "the evidence", "the modules of this release collect it")
    if previous is not None:
        _need(previous, FORMAT, Result, "the former result", "hardened.vllm.audit_judge returns it")
    _need_plans(plans)
    known: dict[str, str] = {}
    for name, digest in secrets.items():
        match = _DIGEST.fullmatch(str(digest))
        if match is None:
            raise InvalidQuestionError(f"digests[{name}] must be 64 hexadecimal digits, the SHA-256 of a secret")
        known[match[1]] = str(name)
    try:
        return judge(cast(Evidence, evidence), plans, read(waivers), known, today, previous)
    except InvalidWaiverError as error:
        raise InvalidQuestionError(str(error)) from error


def expected(inventory: Mapping[str, Any], today: datetime.date) -> dict[str, Any]:
    """Return what ``planned.planned`` makes of an inventory. Raises InvalidQuestionError."""
    for name, kind in (("clusters", Mapping), ("problems", list)):
        if not isinstance(inventory.get(name), kind):
            raise InvalidQuestionError(f"the input has no {name}; expected what hardened.vllm.audit_inventory returns")
    return planned(inventory, today)


def former(text: str) -> dict[str, Any]:
    """Return the result of a former audit from its JSON report. Raises InvalidQuestionError."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidQuestionError(f"the former result is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidQuestionError(f"the former result is {shown(found)}; expected a mapping")
    _need(found, FORMAT, Result, "the former result", "hardened.vllm.audit_judge returns it")
    return found


def inventoried(
    groups: Mapping[str, Any], hostvars: Mapping[str, Mapping[str, Any]], hosts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what ``inventory.audited`` makes of an inventory and the evidence of ``hosts``. Raises InvalidQuestionError."""
    _need_shape(hosts, dict[str, HostEvidence], "evidence", "hardened.vllm.audit_host returns it")
    return audited(groups, hostvars, hosts)


def tried(
    place: str,
    standing: str,
    hosts: Mapping[str, Any],
    declared: Mapping[str, Any],
    plans: Mapping[str, Any],
    ports: str,
) -> list[dict[str, str]]:
    """Return the targets of ``questions.targets``. Raises InvalidQuestionError."""
    _need_plans(plans)
    _need_shape(hosts, dict[str, HostEvidence], "hosts", "hardened.vllm.audit_host returns it")
    _need_shape(declared, dict[str, list[Address]], "declared", "hardened.vllm.audit_inventory returns it")
    return targets(place, standing, hosts, declared, plans, ports)


def requested(
    place: str,
    hosts: Mapping[str, Any],
    plans: Mapping[str, Any],
    reach: Sequence[Any],
    key: str | None,
    limits: bool,
) -> dict[str, Any]:
    """Return the requests of ``questions.asks``. Raises InvalidQuestionError."""
    _need_plans(plans)
    _need_shape(hosts, dict[str, HostEvidence], "hosts", "hardened.vllm.audit_host returns it")
    _need_shape(reach, list[ReachEvidence], "reach", "hardened.vllm.audit_reach returns it")
    return asks(place, hosts, plans, reach, key, limits)


def _need_plans(plans: Mapping[str, Any]) -> None:
    for name, plan in plans.items():
        if not isinstance(plan, Mapping) or not isinstance(plan.get("hosts"), Mapping):
            raise InvalidQuestionError(f"plans[{name}] is no plan: expected what hardened.vllm.plan returns")
        if plan.get("format") != PLAN_FORMAT:
            found = shown(plan.get("format"))
            raise InvalidQuestionError(
                f"plans[{name}] has format {found}; expected {PLAN_FORMAT}: plan again with this release"
            )


def _need(value: Mapping[str, Any], number: int, kind: Any, what: str, origin: str) -> None:
    if value.get("format") != number:
        raise InvalidQuestionError(f"{what} has format {shown(value.get('format'))}; expected {number}")
    _need_shape(value, kind, what, origin)


def _need_shape(value: Any, kind: Any, what: str, origin: str) -> None:
    wrong = first_fault(value, kind, what)
    if wrong is not None:
        raise InvalidQuestionError(f"{wrong}: it is not as {origin}")


def reported(given: Mapping[str, Any], name: str) -> str:
    """Return a result in the form ``name``, or the digests of texts by file name. Raises InvalidQuestionError."""
    if name == "digests":
        for file, text in given.items():
            if not isinstance(text, str) or "\n" in str(file):
                raise InvalidQuestionError(
                    f"digests need texts by file name; found {type(text).__name__} for {shown(file)}"
                )
        return digests(given)
    if name not in FORMATS:
        raise InvalidQuestionError(f"unknown format {shown(name)}. {did_you_mean(str(name), (*FORMATS, 'digests'))}")
    _need(given, FORMAT, Result, "the result", "hardened.vllm.audit_judge returns it")
    wrong = next(_contradictions(given), None)
    if wrong is not None:
        raise InvalidQuestionError(f"the result {wrong}: it is not as hardened.vllm.audit_judge returns it")
    return FORMATS[name](given)


def _contradictions(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield where the parts of a result do not fit each other."""
    findings = {one["id"]: one for one in result["findings"]}
    places = {one["name"] for one in result["places"]}
    for one in (*result["outcomes"], *result["findings"]):
        if one["control"] not in controls():
            yield f"names {shown(one['control'])}, which is no control of this release"
    for one in result["outcomes"]:
        here = f"{one['control']} on {shown(one['host'])}"
        if not findings.keys() >= set(one["findings"]):
            yield f"lacks findings that {here} names"
        elif one["outcome"] == FAILED and all(findings[name]["waived"] for name in one["findings"]):
            yield f"has no finding for {here}, which failed"
        elif one["outcome"] == PASSED and not one["looked_at"]:
            yield f"says of {here} that it passed, and not where that was seen"
    for row in result["matrix"]:
        if not places >= row["cells"].keys():
            yield f"has places in the matrix of {shown(row['host'])} that did not look"
