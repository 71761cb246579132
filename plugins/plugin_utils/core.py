# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The three questions the collection asks: is it valid, what follows from it, is it dangerous."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from .declaration.model import Declaration
from .declaration.reading import read
from .linting.lint import lint
from .planning.acceptance import not_in_release
from .planning.plan import build
from .planning.reality import Probes, with_interfaces
from .problems import Problem, Severity

Hosts = Mapping[str, Mapping[str, Any]]


class InvalidDeclarationError(ValueError):
    """A declaration no plan can be made from; ``problems`` says all of why."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("\n".join(problem.sentence() for problem in self.problems))


def validate(cluster: Any, hosts: Hosts, today: datetime.date) -> list[Problem]:
    """Return every problem of a declaration, errors and the rest, sorted by path.

    ``hosts`` maps host names to ``{"roles": [...], "node": vllm_node, "probe": facts or absent}``; ``today`` decides
    which waivers still hold. What the declaration would start is linted too.
    """
    return _examine(cluster, hosts, today)[1]


def plan(cluster: Any, hosts: Hosts, today: datetime.date) -> dict[str, Any]:
    """Return the plan of a cluster, with what is worth saying but no error under ``warnings``.

    Raises InvalidDeclarationError when there is an error in its declaration.
    """
    made, problems = _examine(cluster, hosts, today)
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if errors or made is None:
        raise InvalidDeclarationError(errors)
    return {**made, "warnings": [problem.as_dict() for problem in problems]}


def _examine(cluster: Any, hosts: Hosts, today: datetime.date) -> tuple[dict[str, Any] | None, list[Problem]]:
    declaration, problems = read(cluster, hosts, today)
    if declaration is None:
        return None, problems
    probes: Probes = {name: host["probe"] for name, host in hosts.items() if host.get("probe")}
    declaration, contradictions = with_interfaces(declaration, probes)
    made = build(declaration)
    return made, sorted([*problems, *contradictions, *not_in_release(made), *_lint_plan(declaration, made)])


def _lint_plan(declaration: Declaration, made: Mapping[str, Any]) -> list[Problem]:
    waived = {waiver["rule"] for waiver in declaration.values["waivers"]}
    problems: list[Problem] = []
    for name, host in made["hosts"].items():
        if host["engine"] is None:
            continue
        found = lint(host["engine"]["argv"], host["engine"]["environment"], f"hosts.{name}.engine")
        problems += [problem for problem in found if problem.rule not in waived]
    return problems
