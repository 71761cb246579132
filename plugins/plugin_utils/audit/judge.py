# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The judge: from evidence and plans to an outcome for every control on every host. A pure function."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..problems import Severity
from .checks import CHECKS
from .controls import Control, controls
from .evidence import Evidence
from .matrix import matrix
from .result import ABSENT, FAILED, FORMAT, OUTCOMES, PASSED, UNCHECKED, WAIVED
from .secrecy import reduced_all
from .view import Absent, Finding, Looked, Said, Unchecked, View
from .views import views
from .waivers import Waiver

# How many places a passed control names, and reasons one that was not checked.
SHOWN = 4
# How many findings of a control a host may have, so that one host cannot fill the report of all.
MOST = 200


def judge(
    evidence: Evidence,
    plans: Mapping[str, Mapping[str, Any]],
    waivers: Sequence[Waiver],
    secrets: Mapping[str, str],
    today: datetime.date,
    previous: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the result of an audit, JSON types as docs/audit.schema.json describes them.

    ``plans`` are those of the clusters by name; a host in none of them is judged as found. ``secrets`` maps digests (64
    hexadecimal digits) to names of the clusters' secrets. ``previous`` is a former result to compare with. Whether what
    comes from outside has its shape, ``asked.judged`` sees before.
    """
    seen = views(evidence, plans, secrets, today)
    outcomes: list[dict[str, Any]] = []
    findings: list[dict[str, Any]] = []
    used: set[Waiver] = set()
    before = {one["id"]: one for one in previous["findings"]} if previous is not None else None
    for view in seen:
        said = {name: list(check(view)) for name, check in CHECKS.items()}
        for control in controls().values():
            outcome, found = _outcome(view, control, said, waivers, used)
            outcomes.append(outcome)
            findings += [_told(one, waiver, before) for one, waiver in found]
    findings.sort(key=lambda one: (-Severity.parse(one["severity"]), one["host"], one["control"], one["place"]))
    now = {one["id"] for one in findings}
    result = {
        "format": FORMAT,
        "taken": evidence["taken"],
        "today": str(today),
        "clusters": [
            {"name": plan["cluster"], "release": plan["release"], "topology": plan["topology"]}
            for plan in plans.values()
        ],
        "compared_with": previous["taken"] if previous is not None else None,
        "summary": _summary(outcomes, findings),
        "verdict": _verdict(seen, outcomes, findings),
        "hosts": [_host(view) for view in seen],
        "places": [
            {"name": one["observer"], "standing": one["standing"], "sources": list(one["sources"])}
            for one in evidence["reach"]
        ],
        "outcomes": outcomes,
        "findings": findings,
        "gone": [one for name, one in sorted(before.items()) if name not in now] if before is not None else [],
        "waivers": [_waiver(one, used, today) for one in waivers],
        "matrix": [row for view in seen for row in matrix(view)],
        "missing": [dict(one) for one in evidence["missing"]],
    }
    return dict(reduced_all(result, secrets))


def _outcome(
    view: View, control: Control, said: Mapping[str, Sequence[Said]], waivers: Sequence[Waiver], used: set[Waiver]
) -> tuple[dict[str, Any], list[tuple[Finding, Waiver | None]]]:
    mine = [one for name in control.checks for one in said[name] if one.control in ("", control.id)]
    # What the linter finds comes from one check and belongs to many controls.
    every = [one for each in said.values() for one in each if isinstance(one, Finding) and one.control == control.id]
    found = {one.id: one for one in _most(view, control, sorted(every, key=lambda one: one.severity))}
    covered = [(one, _covering(one, waivers, view.today)) for one in found.values()]
    used.update(waiver for _one, waiver in covered if waiver is not None)
    bad = [(one, waiver) for one, waiver in covered if one.severity > Severity.INFO]
    gaps = [one.why for one in mine if isinstance(one, Unchecked)]
    looked = [one.at for one in mine if isinstance(one, Looked)]
    absent = [one.why for one in mine if isinstance(one, Absent)]
    if any(waiver is None for _one, waiver in bad):
        outcome, why = FAILED, gaps
    elif bad:
        outcome, why = WAIVED, [waiver.reason for _one, waiver in bad if waiver is not None]
    elif gaps:
        outcome, why = UNCHECKED, gaps
    elif looked:
        outcome, why = PASSED, []
    elif absent and view.unplanned:
        # Whether there is something of it, the plan would say.
        outcome, why = UNCHECKED, [view.unplanned]
    elif absent:
        outcome, why = ABSENT, absent
    else:
        outcome, why = UNCHECKED, ["no check looked at it"]
    return {
        "control": control.id,
        "host": view.name,
        "outcome": outcome,
        "why": _few(why),
        "looked_at": _few(looked),
        "findings": [one.id for one, _waiver in covered],
    }, covered


def _most(view: View, control: Control, found: list[Finding]) -> list[Finding]:
    """Return the worst of many findings, and one that says how many there are."""
    if len(found) <= MOST:
        return found
    told = view.finding(
        control.id,
        "all of them",
        f"{len(found)} findings, of which {MOST} are told",
        "none",
        severity=max(one.severity for one in found),
    )
    return [*found[-MOST:], told]


def _few(texts: Iterable[str]) -> list[str]:
    known = list(dict.fromkeys(texts))
    return known[:SHOWN] + ([f"and {len(known) - SHOWN} more"] if len(known) > SHOWN else [])


def _covering(finding: Finding, waivers: Iterable[Waiver], today: datetime.date) -> Waiver | None:
    return next((waiver for waiver in waivers if waiver.covers(finding, today)), None)


def _told(finding: Finding, waiver: Waiver | None, before: Mapping[str, Any] | None) -> dict[str, Any]:
    state = "" if before is None else "still there" if finding.id in before else "new"
    return {
        "id": finding.id,
        "control": finding.control,
        "rule": finding.rule,
        "host": finding.host,
        "place": finding.place,
        "severity": finding.severity.name.lower(),
        "found": finding.found,
        "expected": finding.expected,
        "remedy": finding.remedy,
        "message": finding.message(),
        "evidence": list(finding.evidence),
        "waived": waiver is not None,
        "state": state,
    }


def _summary(outcomes: Sequence[Mapping[str, Any]], findings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    ended = Counter(one["outcome"] for one in outcomes)
    counted = Counter(one["severity"] for one in findings if not one["waived"])
    return {
        "outcomes": {name: ended[name] for name in OUTCOMES},
        "findings": {severity.name.lower(): counted[severity.name.lower()] for severity in reversed(Severity)},
        "waived": sum(one["waived"] for one in findings),
    }


def _verdict(
    seen: Sequence[View], outcomes: Sequence[Mapping[str, Any]], findings: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    counted = _summary(outcomes, findings)
    errors, warnings = counted["findings"]["error"], counted["findings"]["warning"]
    gaps = counted["outcomes"][UNCHECKED]
    worst = next((name for name, number in counted["findings"].items() if number), "none")
    if not seen:
        return {"sentence": "Nothing was looked at.", "worst": worst, "word": UNCHECKED}
    told = f"{_count(errors, 'error')} and {_count(warnings, 'warning')} on {_count(len(seen), 'host')}"
    missing = f"; {_count(gaps, 'control')} could not be checked" if gaps else "; every control was checked"
    word = FAILED if errors or warnings else UNCHECKED if gaps else PASSED
    return {"sentence": f"{word.capitalize()}: {told}{missing}.", "worst": worst, "word": word}


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _host(view: View) -> dict[str, Any]:
    known = view.evidence
    servers = view.processes("vllm", "ray")
    return {
        "name": view.name,
        "cluster": view.plan["cluster"] if view.plan is not None else None,
        "roles": list(view.part["roles"]) if view.part is not None else [],
        "looked_at": known is not None,
        "why": view.unplanned if known is not None else view.absent,
        "kernel": known["kernel"] if known is not None else None,
        "booted": known["booted"] if known is not None else None,
        "servers": [
            {
                "kind": one["kind"],
                "unit": one["unit"],
                "versions": dict(one["versions"] or {}),
                "started": one["started"],
            }
            for one in servers
        ],
    }


def _waiver(waiver: Waiver, used: set[Waiver], today: datetime.date) -> dict[str, Any]:
    state = "expired" if waiver.expired(today) else "used" if waiver in used else "unused"
    return {
        "rule": waiver.rule,
        "hosts": list(waiver.hosts),
        "reason": waiver.reason,
        "owner": waiver.owner,
        "expires": str(waiver.expires),
        "state": state,
    }
