# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The three questions the collection asks: is it valid, what follows from it, is it dangerous."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from .audit.controls import waived_rules
from .declaration.install_rules import unlocked
from .declaration.model import Declaration
from .declaration.reading import read
from .declaration.schema import CLUSTER
from .linting.lint import lint, lint_part
from .planning.acceptance import not_in_release
from .planning.endpoint import apart
from .planning.engine import passed_arguments, passed_environment
from .planning.firewalls import conflicts
from .planning.fit import misfits
from .planning.plan import build
from .planning.ports import collisions
from .planning.reality import Probes, with_interfaces
from .planning.release import unprotected
from .problems import Problem, Severity, once

Hosts = Mapping[str, Mapping[str, Any]]


class InvalidDeclarationError(ValueError):
    """A declaration no plan can be made from; ``problems`` says all of why."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("\n".join(problem.sentence() for problem in self.problems))


def validate(cluster: Any, hosts: Hosts, today: datetime.date) -> list[Problem]:
    """Return every problem of a declaration, errors and the rest, sorted by path.

    ``hosts`` maps host names to ``{"roles": [...], "node": vllm_node, "probe": facts or absent}``; ``today`` decides
    which waivers still hold. What the declaration would start is linted too; where an error leaves no plan to lint,
    what it passes through to vLLM.
    """
    return examine(cluster, hosts, today)[1]


def plan(cluster: Any, hosts: Hosts, today: datetime.date) -> dict[str, Any]:
    """Return the plan of a cluster, with what is worth saying but no error under ``warnings``.

    Raises InvalidDeclarationError when there is an error in its declaration.
    """
    made, problems = examine(cluster, hosts, today)
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if errors or made is None:
        raise InvalidDeclarationError(errors)
    return {**made, "warnings": [problem.as_dict() for problem in problems]}


def examine(cluster: Any, hosts: Hosts, today: datetime.date) -> tuple[dict[str, Any] | None, list[Problem]]:
    """Return the plan, None when what is declared cannot be read, and every problem; errors among them do not keep the plan back."""
    declaration, problems = read(cluster, hosts, today)
    if declaration is None:
        return None, sorted([*problems, *_lint_passed(cluster, {problem.path for problem in problems})])
    probes: Probes = {name: host["probe"] for name, host in hosts.items() if host.get("probe")}
    declaration, contradictions = with_interfaces(declaration, probes)
    made = build(declaration)
    found = [
        *collisions(made),
        *apart(made),
        *misfits(made, probes),
        *conflicts(made, probes, declaration.values["waivers"]),
        *not_in_release(made),
        *unprotected(made["release"]),
        *_unwaived(declaration, unlocked(declaration.values["install"])),
        *_lint_plan(declaration, made),
    ]
    return made, sorted([*problems, *contradictions, *found])


def _unwaived(declaration: Declaration, found: Iterable[Problem]) -> list[Problem]:
    """Return ``found`` but for what is waived everywhere."""
    waived = waived_rules(declaration.values["waivers"])
    return [problem for problem in found if problem.rule not in waived]


def _lint_passed(cluster: Any, reported: Collection[str]) -> list[Problem]:
    """Lint what a declaration with errors passes through, but for what is reported already by its path."""
    values = CLUSTER.read(cluster, "vllm_cluster", lambda _problem: None) or {}
    engine, where = values.get("engine") or {}, "vllm_cluster.engine"
    arguments, environment = (
        {name: value for name, value in (engine.get(part) or {}).items() if f"{where}.{part}.{name}" not in reported}
        for part in ("arguments", "environment")
    )
    waived = waived_rules([waiver for waiver in values.get("waivers") or () if waiver])
    found = lint_part(passed_arguments(arguments), passed_environment(environment), where, values.get("release"))
    # What mitigates an advisory is known with the whole process only, so the release is judged by the plan.
    return [
        replace(problem, path=problem.path.replace(".argv.--", ".arguments.", 1))
        for problem in found
        if problem.rule not in waived and problem.path != f"{where}.release"
    ]


# What lint says of the planned sockets, and the listener whose firewall rule answers it.
ANSWERED = {
    "env-mooncake-bootstrap": "mooncake-bootstrap",
    "env-side-channel-port": "nixl-side-channel",
    "kv-connector": "mooncake-bootstrap",
    "kv-events": "kv-events",
}


def _lint_plan(declaration: Declaration, made: Mapping[str, Any]) -> list[Problem]:
    """Lint what every engine would be started with; a finding that many hosts share is reported once."""
    waivers = declaration.values["waivers"]
    planned = {row["listener"].rstrip("-0123456789") for row in made["matrix"]}
    # What not_in_release says with the release's own options.
    settled = {"arg-removed"} | {rule for rule, listener in ANSWERED.items() if listener in planned}
    shared: dict[tuple[str, str, str], list[Problem]] = {}
    for name, host in made["hosts"].items():
        quiet = settled | waived_rules(waivers, name)
        for engine in host["engines"]:
            where = f"hosts.{name}.{engine['name']}"
            for problem in lint(engine["argv"], engine["environment"], where, made["release"]):
                if problem.rule not in quiet:
                    tail = problem.path.removeprefix(where)
                    if tail == ".release":
                        problem = replace(problem, path="vllm_cluster.release")
                    shared.setdefault((problem.rule, tail, problem.found), []).append(problem)
    return [once(problems) for problems in shared.values()]
