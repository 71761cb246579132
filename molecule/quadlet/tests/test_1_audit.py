# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit sees into the engine's container: nothing is wrong there, and its processes were looked at."""

from __future__ import annotations

import json
from pathlib import Path

from lab import runs
from lab.paths import CHECKOUT


def test_nothing_is_wrong_in_the_container(tmp_path: Path) -> None:
    done = runs.play(
        "quadlet",
        CHECKOUT / "playbooks/audit.yml",
        "--tags=audit_look",
        "--limit=vllm_nodes",
        timeout=300,
        audit_report_dir=str(tmp_path),
        audit_fail_on="never",
    )
    assert done.code == 0, done.text
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert {one["rule"] for one in report["findings"]} == {"release-old"}
    passed = {one["control"] for one in report["outcomes"] if (one["host"], one["outcome"]) == ("engine1", "passed")}
    assert {"ENG-01", "ENG-04", "ENG-05", "ENG-12", "ENG-17", "ENG-18"} <= passed
