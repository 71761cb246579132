# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Puts what the modules returned on all hosts together as one document of evidence, with what is missing and why."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from ..problems import shown
from .evidence import FORMAT, Evidence, HostEvidence, Missing, Reached, ReachEvidence, RoutesEvidence
from .ranges import merged, ports_of, text
from .receiving import printable
from .shape import first_fault

_TIME = "%Y-%m-%dT%H:%M:%SZ"
# What a host may show of each at most. The time and the size of a report are everybody's, not one host's to spend.
MOST: dict[str, int] = {
    "processes": 1000,
    "namespaces": 5000,
    "listeners": 20000,
    "units": 1000,
    "files": 100000,
    "users": 10000,
    "proxies": 1000,
}
MOST_OPEN = 256
_SHAPES: dict[str, Any] = {"host": HostEvidence, "reach": ReachEvidence, "routes": RoutesEvidence}


def gathered(
    looks: Mapping[str, Mapping[str, Any]],
    reaches: Mapping[str, Mapping[str, Any]],
    answers: Mapping[str, Mapping[str, Any]],
    now: datetime.datetime,
    standings: Mapping[str, str] | None = None,
) -> Evidence:
    """Return the evidence from the results the three modules registered, each by inventory name.

    A result that is empty or was skipped asked for nothing; one without ``evidence`` is missing, with what it said. So is one that is not
    as the module returns it: a host that is somebody else's by now shall not end the audit of the others. Nor does it speak for them: what a
    place says of its name, and where ``standings`` are given of its standing, has to be what it was asked as.
    """
    missing: list[Missing] = []
    found: dict[str, dict[str, Any]] = {"host": {}, "reach": {}, "routes": {}}
    for part, results in (("host", looks), ("reach", reaches), ("routes", answers)):
        for host, result in sorted(results.items()):
            fault = _fault(host, part, result["evidence"], standings) if "evidence" in result else None
            if fault is not None:
                missing.append({"host": host, "part": part, "reason": f"{fault}: it is not as the module returns it"})
            elif "evidence" in result:
                found[part][host] = _bounded(result["evidence"]) if part == "reach" else result["evidence"]
            elif result and not result.get("skipped", False):
                told = str(result.get("msg") or "").strip().partition("\n")[0]
                reason = printable(told) or "the host gave no answer"
                missing.append({"host": host, "part": part, "reason": reason})
    return {
        "format": FORMAT,
        "taken": now.astimezone(datetime.UTC).strftime(_TIME),
        "hosts": found["host"],
        "reach": list(found["reach"].values()),
        "routes": list(found["routes"].values()),
        "missing": missing,
    }


def _fault(host: str, part: str, evidence: Any, standings: Mapping[str, str] | None) -> str | None:
    """Return what is wrong with a document that ``host`` returned, None when nothing is."""
    fault = first_fault(evidence, _SHAPES[part], "the evidence")
    if fault is not None:
        return fault
    for name, most in MOST.items():
        if part == "host" and len(evidence[name] or ()) > most:
            return f"the evidence has {len(evidence[name])} {name}; expected {most} at most"
    expected: dict[str, Any] = {"format": FORMAT, "kind": part}
    if part != "host":
        expected["observer"] = host
        if standings is not None:
            expected["standing"] = standings.get(host, "controller")
    wrong = [name for name, value in expected.items() if evidence[name] != value]
    return f"{wrong[0]} is {shown(evidence[wrong[0]])}; expected {shown(expected[wrong[0]])}" if wrong else None


def _bounded(evidence: ReachEvidence) -> ReachEvidence:
    """Return what a place reached with ``MOST_OPEN`` open ports of an address: where every port answers, the others are told as untried."""
    rows = []
    for row in evidence["reached"]:
        kept, rest = row["open"][:MOST_OPEN], row["open"][MOST_OPEN:]
        if rest:
            untried = text(merged([*ports_of(row["untried"]), *((port, port) for port in rest)]))
            reason = f"{len(row['open'])} ports are open, and {MOST_OPEN} of them were looked into"
            rows.append(Reached(**{**row, "open": kept, "untried": untried, "reason": reason}))
        else:
            rows.append(row)
    return {**evidence, "reached": rows}
