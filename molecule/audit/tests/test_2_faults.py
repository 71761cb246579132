# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults planted one at a time: the audit finds exactly that one, and nothing when it is taken back.

All of files/faults.yml when AUDIT_FAULTS is ``all``, else those marked quick.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from audit.support import FAULTS, Audit, Fault, told

CHOSEN = [fault for fault in FAULTS if os.environ.get("AUDIT_FAULTS") == "all" or fault.get("quick")]


@pytest.mark.parametrize("entry", CHOSEN, ids=lambda entry: entry["id"])
def test_the_fault_is_found_and_nothing_else(
    entry: dict[str, Any], clean: Audit, plant: Callable[[dict[str, Any]], Fault]
) -> None:
    audit, fault = clean.copy(), plant(entry)
    try:
        fault.plant()
        retake(audit, entry, fault.host)
        findings = audit.findings()
    finally:
        fault.undo()
    controls = {one["control"] for one in findings}
    assert entry["control"] in controls, told(findings)
    assert controls == {entry["control"], *entry.get("also", ())}, told(findings)
    assert {one["host"] for one in findings} == {fault.host}, told(findings)


def retake(audit: Audit, entry: dict[str, Any], host: str) -> None:
    """Take the evidence again that a fault can change."""
    audit.look(*entry.get("look", [host]))
    if "reach" in entry:
        audit.reach(*entry["reach"])
    if entry.get("routes"):
        audit.ask()


def test_nothing_is_left_of_the_faults(clean: Audit) -> None:
    after = clean.copy()
    after.everything()
    assert after.findings() == []
