# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each form of a report holds every finding, whatever is in it, and is what its readers expect."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.artefacts import lint_text
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.finding import Finding
from ansible_collections.hardened.vllm.plugins.plugin_utils.problems import Severity
from ansible_collections.hardened.vllm.plugins.plugin_utils.report.formats import FORMATS
from support.schemas import sarif_validator

AWKWARD = "a\x07b\x1b[31m\r\n::error::x<&>\"'%0A,:]]>\ud800\U0001f600"
FINDINGS = [
    Finding("", 0, "argv.--host", "arg-host", "nothing", "a setting", "Give one.", Severity.ERROR),
    Finding("a b/ü,:c.yml", 3, "services.x", "unknown-key", AWKWARD, "x", "y", Severity.WARNING),
    Finding("/abs/run.sh", 1, "", "unreadable", "binary data", "text", "Leave it out.", Severity.ERROR),
    Finding("run.sh", 7, "argv", "unresolved", "$X", "a value", "Write it.", Severity.INFO),
]
READ = ["run.sh", "clean.service"]


@pytest.mark.parametrize("findings", [FINDINGS, [], lint_text("vllm serve m --grpc\n", "script", "a.sh")])
def test_sarif_is_valid_by_the_official_schema(findings: list[Finding]) -> None:
    log = json.loads(FORMATS["sarif"](findings, READ))
    assert [error.message for error in sarif_validator().iter_errors(log)] == []
    assert log["version"] == "2.1.0"


def test_the_schema_refuses_what_is_no_sarif() -> None:
    log = json.loads(FORMATS["sarif"](FINDINGS, READ))
    log["runs"][0]["results"][1]["level"] = "fatal"
    log["runs"][0]["results"][2]["locations"][0]["physicalLocation"]["region"]["startLine"] = 0
    assert len(list(sarif_validator().iter_errors(log))) == 2


def test_sarif_names_places_and_rules() -> None:
    (run,) = json.loads(FORMATS["sarif"](FINDINGS, READ))["runs"]
    rules = run["tool"]["driver"]["rules"]
    for result, finding in zip(run["results"], FINDINGS, strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == finding.rule
    assert [result["level"] for result in run["results"]] == ["error", "warning", "error", "note"]
    assert "locations" not in run["results"][0]
    uris = [result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in run["results"][1:]]
    assert uris == ["a%20b/%C3%BC%2C%3Ac.yml", "file:///abs/run.sh", "run.sh"]
    prints = [result["partialFingerprints"]["hardenedVllm/v1"] for result in run["results"]]
    assert len(set(prints)) == len(prints)


def test_fingerprints_do_not_depend_on_the_line() -> None:
    moved = [Finding("run.sh", 70, "argv", "unresolved", "$X", "a value", "Write it.", Severity.INFO)]
    before, after = (json.loads(FORMATS["sarif"](one, ()))["runs"][0]["results"][0] for one in (FINDINGS[3:], moved))
    assert before["partialFingerprints"] == after["partialFingerprints"]


def test_json_has_every_key_of_a_finding() -> None:
    report = json.loads(FORMATS["json"](FINDINGS, READ))
    assert report["summary"] == {"error": 2, "warning": 1, "info": 1}
    assert report["files"] == sorted({"run.sh", "clean.service", "/abs/run.sh", "a b/ü,:c.yml"})
    assert [item["line"] for item in report["findings"]] == [None, 3, 1, 7]
    assert {"rule", "severity", "path", "line", "message", "remedy"} <= set(report["findings"][0])
    assert [Finding.from_dict(item) for item in report["findings"]] == FINDINGS


def test_junit_is_xml_with_a_suite_for_each_file() -> None:
    root = ElementTree.fromstring(FORMATS["junit"](FINDINGS, READ))  # noqa: S314 - made by ourselves just now
    suites = {suite.get("name"): suite for suite in root}
    assert set(suites) == {"input", "a b/ü,:c.yml", "/abs/run.sh", "run.sh", "clean.service"}
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == ("5", "3", "1")
    assert [case.get("name") for case in suites["clean.service"]] == ["no findings"]
    failure = suites["a b/ü,:c.yml"][0][0]
    assert failure.tag == "failure"
    assert failure.get("type") == "warning"
    assert "<&>\"'%0A,:]]>" in str(failure.text)
    assert suites["run.sh"][0][0].tag == "skipped"


def test_annotations_cannot_be_forged_by_what_was_found() -> None:
    lines = FORMATS["github"](FINDINGS, READ).splitlines()
    assert len(lines) == len(FINDINGS)
    assert lines[0].startswith("::error title=arg-host::argv.--host: found nothing")
    assert lines[1].startswith("::warning file=a b/ü%2C%3Ac.yml,line=3,title=unknown-key::services.x: found a")
    assert "%0D%0A::error::x" in lines[1]
    assert "%250A" in lines[1]
    assert lines[3].startswith("::notice file=run.sh,line=7,")


def test_text_is_a_line_each_and_a_sum() -> None:
    lines = FORMATS["text"](FINDINGS, READ).split("\n")
    assert len(lines) == len(FINDINGS) + 2
    assert lines[0] == "error [arg-host] argv.--host: found nothing; expected a setting. Give one."
    assert lines[2].startswith("/abs/run.sh:1: error [unreadable] found binary data")
    assert "\x1b" not in lines[1]
    assert lines[4] == "2 errors, 1 warning, 1 note in 4 files"


@pytest.mark.parametrize("name", FORMATS)
def test_no_findings_are_a_report_as_well(name: str) -> None:
    assert FORMATS[name]([], []).endswith("\n") or name == "github"


@pytest.mark.parametrize(
    "values",
    [{}, {"line": "x"}, {**FINDINGS[0].as_dict(), "severity": "fatal"}, {**FINDINGS[0].as_dict(), "path": 3}, 5],
)
def test_what_is_no_finding_is_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=r"no finding|unknown severity"):
        Finding.from_dict(values)
