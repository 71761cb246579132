# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plans an audit compares with. A declaration that is refused does not end it: what can be planned is, the rest is said."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Any

from ..core import examine
from ..problems import Problem, Severity
from .evidence import Missing
from .waivers import InvalidWaiverError, read

# What a check finds on the host itself, with the evidence for it.
_FOUND_ELSEWHERE = frozenset({"address-not-on-host"})
SHOWN = 3


def planned(inventory: Mapping[str, Any], today: datetime.date) -> dict[str, Any]:
    """Return ``{"plans": {cluster: plan}, "waivers": [...], "missing": [...]}`` of what ``inventory.audited`` returns.

    ``waivers`` are those that can be read, expired ones too: the judge says that they are over. ``missing`` names each host without a plan
    (part ``plan``) and each error of a declaration that was planned nevertheless (part ``declaration``).
    """
    plans: dict[str, dict[str, Any]] = {}
    waivers: list[Any] = []
    missing: list[Missing] = []
    for name, cluster in sorted(inventory["clusters"].items()):
        declaration, hosts = cluster["declaration"], cluster["hosts"]
        readable, problems = _readable(declaration.get("waivers"))
        waivers += readable
        in_force = [waiver for waiver in readable if not read([waiver])[0].expired(today)]
        made, found = examine({**declaration, "waivers": in_force}, hosts, today)
        errors = [one for one in found if one.severity is Severity.ERROR]
        if made is None:
            missing += [{"host": host, "part": "plan", "reason": _why(errors)} for host in sorted(hosts)]
        else:
            plans[name] = {**made, "warnings": [problem.as_dict() for problem in found]}
            problems += [one for one in errors if one.rule not in _FOUND_ELSEWHERE]
        missing += [_told(one, hosts) for one in problems]
    return {"plans": plans, "waivers": waivers, "missing": [*missing, *_sorted_out(inventory, plans)]}


def _readable(values: Any) -> tuple[list[Any], list[Problem]]:
    """Return the waivers that can be read, and what is wrong with the others."""
    if values is not None and not isinstance(values, list):
        return [], [Problem("vllm_cluster.waivers", "wrong-type", repr(values), "a list", "Write a list of waivers.")]
    found, problems = [], []
    for number, value in enumerate(values or ()):
        try:
            read([value])
            found.append(value)
        except InvalidWaiverError as error:
            problems += [_numbered(problem, number) for problem in error.problems]
    return found, problems


def _numbered(problem: Problem, number: int) -> Problem:
    path = problem.path.replace("waivers[0]", f"vllm_cluster.waivers[{number}]", 1)
    return Problem(path, problem.rule, problem.found, problem.expected, problem.remedy, problem.severity)


def _why(errors: list[Problem]) -> str:
    more = f" And {len(errors) - SHOWN} more errors." if len(errors) > SHOWN else ""
    return f"no plan can be made of its declaration: {' '.join(one.sentence() for one in errors[:SHOWN])}{more}"


def _told(problem: Problem, hosts: Mapping[str, Any]) -> Missing:
    host = next((name for name in sorted(hosts) if problem.path.startswith(f"hosts.{name}.")), min(hosts))
    return {"host": host, "part": "declaration", "reason": problem.sentence()}


def _sorted_out(inventory: Mapping[str, Any], plans: Mapping[str, Mapping[str, Any]]) -> Iterator[Missing]:
    """Yield what sorting the inventory into clusters found: hosts that are in none of them have no plan."""
    known = {host for plan in plans.values() for host in plan["hosts"]}
    for problem in inventory["problems"]:
        host = problem["path"].split(".vllm_", 1)[0].removeprefix("hosts.")
        yield {"host": host, "part": "declaration" if host in known else "plan", "reason": problem["message"]}
