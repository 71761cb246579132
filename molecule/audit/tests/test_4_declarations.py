# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a declaration, a host or the audit's own variables: an audit goes on, or ends before it looks at anything."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from audit.support import ROOT
from lab import runs

PLAYBOOK = ROOT / "playbooks/audit.yml"


def audited(lab_name: str, place: Path, *options: str, **variables: Any) -> dict[str, Any]:
    """The result of a run of the playbook, which has to end well."""
    done = runs.play(
        lab_name, PLAYBOOK, *options, timeout=300, audit_report_dir=str(place), audit_fail_on="never", **variables
    )
    assert done.code == 0, done.text
    found: dict[str, Any] = json.loads((place / "report.json").read_text())
    return found


def test_a_waiver_that_is_over_is_reported_and_ends_nothing(lab_name: str, tmp_path: Path) -> None:
    yesterday = str(datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=1))
    options = ("--tags=audit_look", "--limit=vllm_nodes,gateway,foreign")
    result = audited(lab_name, tmp_path, *options, audit_scenario_expires=yesterday)
    assert [(one["rule"], one["state"]) for one in result["waivers"]] == [("release-old", "expired")]
    failed = {one["host"] for one in result["findings"] if one["rule"] == "release-old" and not one["waived"]}
    assert failed >= {"engine1", "engine2"}
    assert {one["name"]: one["cluster"] for one in result["hosts"]}["engine1"] == "audit"
    passed = {one["host"] for one in result["outcomes"] if one["outcome"] == "passed"}
    assert {"engine1", "engine2", "gateway", "foreign"} <= passed


@pytest.fixture(scope="module")
def spoilt(lab_name: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run in which one host has another address than is declared, one cannot be reached, and one fails while it is looked at."""
    place = tmp_path_factory.mktemp("spoilt")
    addresses = {"fabric": ["10.231.1.99"], "management": ["10.231.2.11"]}
    hosts = {
        "engine1": {"vllm_node": {"addresses": addresses}},
        "engine2": {"ansible_python_interpreter": "/bin/false"},
        "gone": {"ansible_host": "10.231.2.99", "ansible_ssh_common_args": "-o ConnectTimeout=3"},
    }
    (place / "spoilt.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    options = ("--tags=audit_reach", f"--inventory={place / 'spoilt.json'}")
    options += ("--limit=vllm_nodes,gateway,observer,gone",)
    return audited(lab_name, place, *options, audit_ports="22,443,8000")


def test_a_wrong_address_is_found_and_ends_nothing(spoilt: dict[str, Any]) -> None:
    found = {(one["host"], one["place"]): one["found"] for one in spoilt["findings"] if one["control"] == "NET-15"}
    assert found == {("engine1", "address on fabric"): "no interface with 10.231.1.99"}


def test_a_host_that_fails_or_is_gone_is_not_checked_and_ends_nothing(spoilt: dict[str, Any]) -> None:
    told = {(one["host"], one["part"]) for one in spoilt["missing"]}
    assert told >= {("engine2", "host"), ("gone", "host")}
    for name in ("engine2", "gone"):
        assert {one["outcome"] for one in spoilt["outcomes"] if one["host"] == name} <= {
            "not checked",
            "not applicable",
            "passed",  # what others saw of it
        }
        inside = {one["outcome"] for one in spoilt["outcomes"] if (one["host"], one["control"]) == (name, "NET-12")}
        assert inside <= {"not checked", "not applicable"}
    assert "observer" in {one["name"] for one in spoilt["places"]}
    assert "passed" in {one["outcome"] for one in spoilt["outcomes"] if one["host"] == "gateway"}


@pytest.mark.parametrize("observers", [pytest.param([], marks=pytest.mark.slow), ["gateway"]])
def test_the_controller_looks_when_nobody_outside_does(
    lab_name: str, directory: Path, tmp_path: Path, observers: list[str]
) -> None:
    """A gateway is let in where others are not, so it is nobody outside."""
    result = audited(
        lab_name,
        tmp_path,
        "--limit=vllm_nodes,gateway,foreign",
        audit_observers=observers,
        audit_authority=str(directory / "tls/ca.pem"),
        audit_ports="22,443,8000-8100",
    )
    places = {one["name"]: one["standing"] for one in result["places"]}
    assert places["controller"] == "controller" and places["gateway"] == "gateway"
    evidence = json.loads((tmp_path / "evidence.json").read_text())
    asked = {one["observer"]: len(one["answers"]) for one in evidence["routes"]}
    assert asked["controller"] > 100 and asked.get("gateway", 0) == 0
    found = {one["control"] for one in result["findings"] if one["host"] == "foreign"}
    assert {"OUT-01", "OUT-02", "OUT-03", "OUT-05"} <= found
    left = [one["message"] for one in result["findings"] if one["host"] not in ("foreign", "stranger")]
    assert [message for message in left if "release" not in message] == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "audit_previous: found no file"),
        ('{"format": 1,', "the former result is no JSON"),
        ('{"format": 7}', "the former result has format 7; expected 1"),
    ],
)
def test_what_cannot_be_compared_with_ends_the_run_before_a_host_is_looked_at(
    lab_name: str, tmp_path: Path, text: str | None, says: str
) -> None:
    previous = tmp_path / "previous.json"
    if text is not None:
        previous.write_text(text)
    done = runs.play(
        lab_name, PLAYBOOK, "--tags=audit_look", "--limit=foreign", timeout=100, audit_previous=str(previous)
    )
    assert done.code != 0 and says in done.text, done.text
    assert "TASK [hardened.vllm.audit : Look at the host]" not in done.text
