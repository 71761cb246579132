# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the planned release knows what it would be started with; vLLM would refuse it at its start otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import catalogue
from ..catalogue.renames import told
from ..problems import Problem, did_you_mean


def not_in_release(plan: Mapping[str, Any]) -> list[Problem]:
    """Return a problem for each planned option and ``VLLM_`` variable that the plan's release does not have."""
    release = plan["release"]
    options, variables = catalogue.known_flags(release), catalogue.known_variables(release)
    problems: dict[str, Problem] = {}
    for host, part in sorted(plan["hosts"].items()):
        for engine in part["engines"]:
            where = f"hosts.{host}.{engine['name']}"
            for word in engine["argv"]:
                name = catalogue.flag_name(word, release) if word.startswith("--") else None
                if name is not None and name.split(".")[0] not in options:
                    problems.setdefault(word, _missing(f"{where}.argv.{word}", "option", word, release, options))
            for name in engine["environment"]:
                if name.startswith("VLLM_") and name not in variables:
                    problem = _missing(f"{where}.environment.{name}", "variable", name, release, variables)
                    problems.setdefault(name, problem)
    return sorted(problems.values())


def _missing(path: str, kind: str, name: str, release: str, known: frozenset[str]) -> Problem:
    bare = catalogue.flag_name(name.split(".")[0], release) if kind == "option" else name
    remedy = told({"option": "flags", "variable": "variables"}[kind], bare, release)
    if not remedy:
        hint = did_you_mean(bare, known)
        hint = hint if hint.startswith("Did") else ""
        remedy = f"Mend the name, or choose a release that has it. {hint}".strip()
    article = "an" if kind == "option" else "a"
    return Problem(path, "not-in-release", name, f"{article} {kind} vLLM {release} has", remedy)
