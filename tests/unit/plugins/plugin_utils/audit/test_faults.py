# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The faults the scenario audit plants: every control has one or a reason, and each was found in the run that is written down."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.controls import controls

ROOT = Path(__file__).resolve().parents[5]


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / "molecule/audit/files" / name).read_text(encoding="utf-8"))


FAULTS, RECORD, UNPLANTED = read("faults.yml"), read("found.yml"), read("unplanted.yml")
SIGNATURE = re.compile(r"(?P<control>[A-Z]+-[0-9]{2})(?: (?P<rule>[a-z0-9-]+))?: .+")


def named(fault: dict[str, Any]) -> set[str]:
    return {fault["control"], *fault.get("also", ())}


def test_every_control_has_a_fault_or_a_reason() -> None:
    planted = {control for fault in FAULTS for control in named(fault)}
    reasons = Counter(one["control"] for one in UNPLANTED)
    assert planted & set(reasons) == set(), "these have a fault by now, so the reason goes"
    assert planted | set(reasons) == set(controls())
    assert set(reasons.values()) == {1}


@pytest.mark.parametrize("one", UNPLANTED, ids=lambda one: one["control"])
def test_a_reason_names_tests_that_exist(one: dict[str, Any]) -> None:
    assert one["why"].endswith(".") and one["tests"]
    for place in one["tests"]:
        path, _colons, name = place.partition("::")
        assert re.search(rf"^def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), place


def test_every_fault_was_found_in_the_run_that_is_written_down() -> None:
    """One run of all, and no fault of it is gone by now."""
    without = [fault["id"] for fault in FAULTS if fault["id"] not in RECORD["faults"]]
    assert without == [], "no run has planted these: TESTS=all make molecule-audit"
    assert set(RECORD["faults"]) == {fault["id"] for fault in FAULTS}
    assert RECORD["release"] and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", str(RECORD["date"]))


def test_what_was_found_is_what_the_faults_are_expected_to_show() -> None:
    assert set(RECORD) == {"release", "date", "faults"}, "it names no machine"
    wanted = {fault["id"]: named(fault) for fault in FAULTS}
    for fault, findings in RECORD["faults"].items():
        parts = [SIGNATURE.fullmatch(one) for one in findings]
        assert all(parts), findings
        told = [(one["control"], one["rule"]) for one in parts if one is not None]
        assert {control for control, _rule in told} == wanted[fault], fault
        assert [rule for control, rule in told if rule is not None and rule not in controls()[control].rules] == []
        assert len(set(findings)) == len(findings)
