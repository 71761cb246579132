# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults planted one at a time: the audit finds exactly that one, and nothing when it is taken back.

All of files/faults.yml with TESTS=all, else those marked quick. "Exactly" is each finding by control, rule and place, as files/found.yml has
them. A run of all writes that file anew, so that what differs is seen there; docs/faults.md is made of it.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from audit.support import FAULTS, ROOT, SCENARIO, WAIVED, Audit, Fault, signature, told

CHOSEN = [pytest.param(fault, id=fault["id"], marks=() if fault.get("quick") else pytest.mark.slow) for fault in FAULTS]
HEAD = """\
---
# What the last run of every fault found. Written by TESTS=all make molecule-audit; a run compares with it before it writes.
"""
KNOWN: dict[str, list[str]] = yaml.safe_load((SCENARIO / "files/found.yml").read_text(encoding="utf-8"))["faults"]


class Indented(yaml.SafeDumper):
    """Lists stand deeper than their key, as yamllint wants them."""

    def increase_indent(self, flow: bool = False, *_given: bool) -> None:
        super().increase_indent(flow, False)


@pytest.fixture(scope="module")
def record() -> Iterator[dict[str, list[str]]]:
    """What each fault showed; kept when all were planted."""
    found: dict[str, list[str]] = {}
    yield found
    if len(found) == len(FAULTS):
        release = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"]
        written = {"release": release, "date": str(datetime.datetime.now(datetime.UTC).date()), "faults": found}
        text = yaml.dump(written, Dumper=Indented, sort_keys=False, width=150)
        (SCENARIO / "files/found.yml").write_text(HEAD + text, encoding="utf-8")


@pytest.mark.parametrize("entry", CHOSEN)
def test_the_fault_is_found_and_nothing_else(
    entry: dict[str, Any],
    clean: Audit,
    plant: Callable[[dict[str, Any]], Fault],
    record: dict[str, list[str]],
) -> None:
    # One fault is about what the scenario's waiver covers; what the clean cluster has without it does not count.
    waived = () if entry.get("unwaived") else WAIVED
    before = {(one["id"], one["found"]) for one in clean.findings(waived)}
    audit, fault = clean.copy(), plant(entry)
    try:
        fault.plant()
        retake(audit, entry, fault.host)
        findings = [one for one in audit.findings(waived) if (one["id"], one["found"]) not in before]
    finally:
        fault.undo()
    record[entry["id"]] = sorted(map(signature, findings))
    assert {one["control"] for one in findings} == {entry["control"], *entry.get("also", ())}, told(findings)
    assert record[entry["id"]] == KNOWN.get(entry["id"], record[entry["id"]]), told(findings)
    assert {one["host"] for one in findings} == {fault.host}, told(findings)


def retake(audit: Audit, entry: dict[str, Any], host: str) -> None:
    """Take the evidence again that a fault can change."""
    audit.look(*entry.get("look", [host]))
    if "reach" in entry:
        audit.reach(*entry["reach"])
    if "routes" in entry:
        audit.ask("gateway" if entry["routes"] == "gateway" else "observer")


def test_nothing_is_left_of_the_faults(clean: Audit) -> None:
    after = clean.copy()
    after.everything()
    assert after.findings() == []
