# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts that are somebody else's by now, beside one that is not: what they return ends, falsifies and overwrites nothing.

Each plays its Python interpreter, which is what Ansible hands its modules to. Facts are variables, which is Ansible's default, and the
installed collection cannot rely on it being switched off.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from support import audit
from support.expressions import Run

ESCAPE = "\x1b]0;taken\x07\x1b[2J\x9b31m"
ARGV = ["vllm", "serve", f"<script>alert(1)</script>{ESCAPE}\u202e]]>\x00\n::error::x", "-" * 100000]
# Seconds; those who answer need a few on a busy machine.
PATIENCE = 40


def shown(evidence: dict[str, Any], argv: list[str]) -> dict[str, Any]:
    evidence["processes"][0]["argv"] = argv
    return evidence


def hostile(place: Path) -> dict[str, str]:
    """Return what each host's interpreter does, as a script."""
    owned = {"audit_report_dir": str(place / "owned"), "audit_fail_on": "never", "audit_formats": ["text"]}
    evidence = audit.host_evidence(audit.plan(), "engine11")
    careless = audit.host_evidence(audit.plan(), "engine11")
    careless["processes"][0]["environment"]["VLLM_SERVER_DEV_MODE"] = "1"
    told: dict[str, Any] = {
        "neighbour": {"changed": False, "evidence": careless},
        "facts": {"changed": False, "ansible_facts": owned, "evidence": evidence},
        "escapes": {
            "failed": True,
            "msg": f"a{ESCAPE}<script>alert(1)</script>\nb",
            "warnings": [ESCAPE],
            "deprecations": [{"msg": ESCAPE, "version": "9"}],
            "exception": ESCAPE,
        },
        "blank": {"failed": True, "msg": "\n"},
        "text": {"evidence": shown(audit.host_evidence(audit.plan(), "engine11"), ARGV)},
        "huge": {"evidence": {**evidence, "kernel": "x" * (33 << 20)}},
    }
    scripts = {}
    for name, result in told.items():
        (place / f"{name}.json").write_text(json.dumps(result))
        scripts[name] = f"exec cat {place / name}.json"
    scripts["noise"] = f"printf '{ESCAPE!a}'; printf '\\033]0;taken\\007' >&2; exit 1".replace("'\\x1b", "\\033")
    scripts["silent"] = f"exec sleep {3 * PATIENCE}"
    return scripts


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the inventory of these hosts."""
    place = tmp_path_factory.mktemp("hostile")
    hosts = {}
    for name, script in hostile(place).items():
        path = place / f"{name}.sh"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        hosts[name] = {"ansible_python_interpreter": str(path)}
    # The first host of a play is the one whose variables tasks of the controller see.
    names = sorted(hosts, key=lambda name: (name != "facts", name))
    # Not as extra variables: those nobody overrides.
    given = {"ansible_connection": "local", "ansible_become": False, "audit_report_dir": str(place / "reports")}
    every = {"vars": given, "hosts": {name: hosts[name] for name in names}}
    (place / "hosts.json").write_text(json.dumps({"all": every}))
    return place


def test_what_hosts_return_acts_on_nobody_else(ansible: Run, place: Path) -> None:
    words = ["-i", str(place / "hosts.json"), "--tags", "audit_look", "--forks", "10"]
    words += ["-e", f"audit_answer_seconds={PATIENCE}"]
    reports = place / "reports"
    done = ansible("ansible-playbook", "hardened.vllm.audit", *words, ANSIBLE_INJECT_FACT_VARS="true")
    said = done.stdout + done.stderr
    assert not [character for character in said if not character.isprintable() and character not in "\n\t"], said
    assert "taken" in said, "the escapes did not arrive, so nothing was tried"
    assert done.returncode == 2 and "of severity error or worse" in said, said
    assert not (place / "owned").exists()

    result = json.loads((reports / "report.json").read_text())
    missing = {one["host"]: one["reason"] for one in result["missing"]}
    assert set(missing) == {"escapes", "blank", "huge", "noise", "silent"}
    assert missing["blank"] == "the host gave no answer"
    assert "33554432 at most" in missing["huge"]
    checked = {one["host"] for one in result["outcomes"] if one["outcome"] in ("passed", "failed")}
    assert checked == {"neighbour", "facts", "text"}
    assert ("ENG-01", "neighbour") in {(one["control"], one["host"]) for one in result["findings"]}
    assert not checked & set(missing)
    page = (reports / "report.html").read_text()
    assert "<script" not in page and "&lt;script&gt;" in page
    ElementTree.parse(reports / "report.xml")  # noqa: S314 - whether a parser takes it is the question
    json.loads((reports / "report.sarif").read_text())
    assert sum(path.stat().st_size for path in reports.iterdir()) < 20 << 20
