# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The result as JUnit XML: a suite for each host, a case for each control."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...audit.controls import controls
from .. import junit


def render(result: Mapping[str, Any]) -> str:
    """Return ``<testsuites>``: what failed is a failure, what was not checked, waived or not applicable is skipped."""
    findings = {one["id"]: one for one in result["findings"]}
    suites: dict[str, list[junit.Case]] = {}
    for outcome in result["outcomes"]:
        suites.setdefault(outcome["host"], []).append(_case(outcome, findings))
    return junit.document("hardened.vllm audit", suites)


def _case(outcome: Mapping[str, Any], findings: Mapping[str, Mapping[str, Any]]) -> junit.Case:
    name = f"{outcome['control']} {controls()[outcome['control']].title}"
    if outcome["outcome"] == "passed":
        return junit.Case(name)
    if outcome["outcome"] != "failed":
        return junit.Case(name, "skipped", f"{outcome['outcome']}: {'; '.join(outcome['why'])}")
    mine = [findings[one] for one in outcome["findings"] if not findings[one]["waived"]]
    worst = "error" if any(one["severity"] == "error" for one in mine) else "warning"
    lines = "\n".join(f"{one['severity']}: {one['message']}" for one in mine)
    return junit.Case(name, "failure", mine[0]["message"], worst, lines)
