# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""playbooks/lint.yml as a user runs it, from the installed collection."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

UNIT = "[Service]\nEnvironment=VLLM_SERVER_DEV_MODE=1\nExecStart=/usr/bin/vllm serve /m --host 0.0.0.0\n"
COMPOSE = """\
services:
  vllm:
    image: vllm/vllm-openai:v0.11.0
    command: --model /m --served-model-name "{{ lookup('ansible.builtin.pipe', 'touch /tmp/never') }}"
    ports: ["8000:8000"]
"""


@pytest.fixture
def artefacts(tmp_path: Path) -> Path:
    """Two folders, as their user would have them, beside hostile files."""
    (tmp_path / "deploy").mkdir()
    (tmp_path / "units").mkdir()
    (tmp_path / "deploy/compose.yml").write_text(COMPOSE, encoding="utf-8")
    (tmp_path / "units/vllm.service").write_text(UNIT, encoding="utf-8")
    (tmp_path / "units/binary.sh").write_bytes(b"\0\1")
    (tmp_path / "units/large.env").write_bytes(b"A" * 50_000_000)
    (tmp_path / "units/nginx.service").write_text("[Service]\nExecStart=/usr/sbin/nginx\n", encoding="utf-8")
    return tmp_path


def lint(ansible: Run, **variables: str) -> subprocess.CompletedProcess[str]:
    words = [word for name, value in variables.items() for word in ("-e", f"{name}={value}")]
    return ansible("ansible-playbook", "hardened.vllm.lint", *words)


def test_findings_are_reported_and_decide_the_exit(ansible: Run, artefacts: Path) -> None:
    done = lint(ansible, lint_paths="deploy,units", lint_format="json", lint_report="report.json")
    assert done.returncode != 0, done.stdout
    assert "finding(s) of severity error or worse" in done.stdout
    report = json.loads((artefacts / "report.json").read_text(encoding="utf-8"))
    found = {(item["path"], item["line"], item["rule"]) for item in report["findings"]}
    assert found >= {
        ("deploy/compose.yml", 3, "release-old"),
        ("deploy/compose.yml", 5, "published-port"),
        ("units/vllm.service", 2, "env-dev-mode"),
        ("units/vllm.service", 3, "arg-host"),
        ("units/binary.sh", 1, "unreadable"),
        ("units/large.env", 1, "unreadable"),
    }
    assert not Path("/tmp/never").exists()  # noqa: S108 - what the template above would have made
    assert "nginx" not in str(report)


@pytest.mark.parametrize(("severity", "passes"), [("error", True), ("warning", False), ("info", False)])
def test_the_threshold_decides(ansible: Run, tmp_path: Path, severity: str, passes: bool) -> None:
    (tmp_path / "run.env").write_text("NCCL_DEBUG=INFO\n", encoding="utf-8")
    done = lint(ansible, lint_paths="run.env", lint_severity=severity)
    assert (done.returncode == 0) is passes, done.stdout
    assert "run.env:1: warning [env-nccl-debug]" in done.stdout
    assert "0 errors, 1 warning, 0 notes in 1 file" in done.stdout


def test_every_format_is_written(ansible: Run, artefacts: Path) -> None:
    reports = {}
    for form in ("text", "sarif", "junit", "github"):
        target = artefacts / f"report.{form}"
        lint(ansible, lint_paths="units/vllm.service", lint_format=form, lint_report=str(target))
        reports[form] = target.read_text(encoding="utf-8")
    assert "units/vllm.service:3: error [arg-host]" in reports["text"]
    assert json.loads(reports["sarif"])["version"] == "2.1.0"
    assert ElementTree.fromstring(reports["junit"]).tag == "testsuites"  # noqa: S314 - made by ourselves just now
    assert "::error file=units/vllm.service,line=3,title=arg-host::" in reports["github"]


def test_what_is_printed_can_be_read_by_programs(ansible: Run, artefacts: Path) -> None:
    done = lint(ansible, lint_paths="units/vllm.service", lint_format="github")
    annotation = "::error file=units/vllm.service,line=3,title=arg-host::"
    assert any(line.startswith(annotation) for line in done.stdout.splitlines()), done.stdout
    done = lint(ansible, lint_paths="units/vllm.service", lint_format="json")
    start = done.stdout.index("\n{") + 1
    report, _end = json.JSONDecoder().raw_decode(done.stdout, start)
    assert {item["path"] for item in report["findings"]} == {"units/vllm.service"}
    assert artefacts.exists()


def test_the_release_to_judge_by(ansible: Run, tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("vllm serve /m\n", encoding="utf-8")
    for release, old in (("0.11.0", True), ("0.33.0", False)):
        done = lint(ansible, lint_paths="run.sh", lint_vllm_version=release)
        assert ("[release-old]" in done.stdout) is old, done.stdout


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "lint_paths must name files or folders"),
        ({"lint_paths": "a", "lint_format": "xml"}, "lint_format one of text, json, sarif, junit and github"),
        ({"lint_paths": "a", "lint_severity": "fatal"}, "lint_severity one of error, warning and info"),
        (
            {"lint_paths": "a", "lint_vllm_version": "newest"},
            "the release must be a version such as 0.32.0, found 'newest'",
        ),
        ({"lint_paths": "missing"}, "missing:1: error [unreadable] found nothing; expected a file or a folder."),
    ],
)
def test_what_cannot_be_asked_is_said(ansible: Run, variables: dict[str, str], message: str) -> None:
    done = lint(ansible, **variables)
    assert done.returncode != 0
    assert message in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stdout + done.stderr


def test_a_list_of_paths(ansible: Run, artefacts: Path) -> None:
    done = ansible("ansible-playbook", "hardened.vllm.lint", "-e", '{"lint_paths": ["units/vllm.service"]}')
    assert "units/vllm.service:2: error [env-dev-mode]" in done.stdout
    assert artefacts.exists()
