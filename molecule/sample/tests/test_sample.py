# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sample in the documentation is what an audit of a real vLLM says, and it has what vLLM's guide warns of."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "tools"))
import make_sample  # noqa: E402 - a tool of the project, no package


@pytest.fixture(scope="module")
def fresh(lab_inventory: Path) -> dict[str, Any]:
    """The result of an audit of this lab."""
    place = lab_inventory.parents[1] / "reports"
    command = ["ansible-playbook", f"--inventory={lab_inventory}", str(ROOT / "playbooks/audit.yml")]
    command += ["-e", f"audit_report_dir={place}", "-e", "audit_fail_on=never"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = make_sample.reduced(json.loads((place / "report.json").read_text(encoding="utf-8")))
    return found


def places(result: dict[str, Any]) -> set[tuple[str, str, str, str]]:
    return {(one["control"], one["rule"], one["host"], one["place"]) for one in result["findings"]}


def test_the_sample_is_what_the_audit_says(fresh: dict[str, Any]) -> None:
    """When it differs: python tools/make_sample.py .lab/sample/reports/evidence.json, then make docs."""
    assert places(fresh) == places(make_sample.result())


def test_it_has_what_the_guide_warns_of(fresh: dict[str, Any]) -> None:
    routes = {one["place"] for one in fresh["findings"] if one["control"] == "OUT-02"}
    for door in ("192.0.2.11 port 8000", "192.0.2.20 port 80"):
        for route in (
            "GET /v1/models",
            "POST /v1/completions",
            "POST /invocations",
            "POST /tokenize",
            "GET /metrics",
            "GET /openapi.json",
            "POST /scale_elastic_ep",
            "POST /inference/v1/abort_requests",
            "POST /v1/responses/{response_id}/cancel",
        ):
            assert f"{route} at {door}" in routes
    found = {(one["control"], one["host"]) for one in fresh["findings"]}
    assert {
        ("ENG-05", "model"),
        ("ENG-06", "model"),
        ("ENG-17", "model"),
        ("OUT-01", "model"),
        ("OUT-03", "model"),
        ("OUT-05", "model"),
        ("OUT-05", "web"),
        ("OUT-06", "model"),
        ("OUT-06", "web"),
    } <= found


def test_no_secret_and_no_address_of_the_lab_is_in_the_data() -> None:
    text = make_sample.DATA.read_text(encoding="utf-8")
    assert "10.233." not in text and "PRIVATE KEY" not in text and str(ROOT) not in text
