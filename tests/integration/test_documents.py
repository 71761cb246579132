# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commands of the documentation as they are written (tests/support/documents.yml says which), with the installed collection.

The inventory is the one of the README. Those that need its hosts are run until these refuse SSH.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from support import documents

from .conftest import ROOT, Run
from .test_preflight import spy

TABLE = documents.table()
SYNOPSIS = {"text|json|sarif|junit|github": "json", "FILE": "report.json", "error|warning|info": "error", "X": "0.32.0"}
UNIT = "[Service]\nExecStart=/usr/bin/vllm serve /m --host 0.0.0.0\n"


def the(kind: str) -> str:
    """The one command of the table that is run to its end and begins so."""
    (found,) = [command for command in TABLE["whole"] if command.startswith(kind)]
    return " ".join(found.split())


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    shutil.copytree(documents.QUICKSTART, tmp_path / "inventory")
    return tmp_path / "inventory"


@pytest.mark.parametrize("command", TABLE["refused"])
def test_it_gets_as_far_as_the_hosts(ansible: Run, tmp_path: Path, inventory: Path, command: str) -> None:
    program, calls = spy(tmp_path)
    argv = shlex.split(documents.typed(command, TABLE["refused"][command]) if "{{" not in command else command)
    done = ansible(*argv, ANSIBLE_SSH_EXECUTABLE=program, ANSIBLE_INVENTORY=str(inventory))
    assert done.returncode != 0
    assert calls.exists(), done.stdout + done.stderr
    assert "UNREACHABLE!" in done.stdout
    asked = documents.call(command)
    if (
        asked is not None and asked.playbook == "quarantine"
    ):  # which closes whom it can reach, and says whom it could not
        assert "is NOT closed: it could not be reached" in done.stdout
    elif asked is not None and asked.playbook != "reset":  # which takes away what stands, also from those it can reach
        assert "cannot be reached" in done.stdout and "Nothing was changed on any host" in done.stdout


def test_a_command_that_is_wrong_gets_nowhere(ansible: Run, tmp_path: Path, inventory: Path) -> None:
    program, calls = spy(tmp_path)
    argv = shlex.split("ansible-playbook -i inventory hardened.vllm.drain -e drain_nodes=engine1 --chekc")
    assert ansible(*argv, ANSIBLE_SSH_EXECUTABLE=program).returncode != 0 and inventory.is_dir()
    assert not calls.exists()


def test_it_is_built_and_installed(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    ignored = shutil.ignore_patterns(".git", ".venv", ".lab", ".cache", ".*_cache", "__pycache__", "*.tar.gz")
    shutil.copytree(ROOT, checkout, symlinks=True, ignore=ignored)
    (checkout / ".venv").symlink_to(ROOT / ".venv")
    own = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "installed"),
        "ANSIBLE_HOME": str(tmp_path / "home"),
    }
    # The environment is there already; make would compare it with that of another place.
    build = [*shlex.split(the("make build")), "--old-file=venv"]
    for argv in (build, shlex.split(the("ansible-galaxy"))):
        done = subprocess.run(argv, cwd=checkout, env=own, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (
        the("ansible-galaxy")
        in subprocess.run(build, cwd=checkout, env=own, capture_output=True, text=True, check=True).stdout
    )
    assert (tmp_path / "installed/ansible_collections/hardened/vllm/playbooks/site.yml").is_file()


def test_reports_of_an_audit_lie_where_its_caller_stands(ansible: Run, tmp_path: Path, inventory: Path) -> None:
    program, _calls = spy(tmp_path)
    command = "ansible-playbook -i inventory hardened.vllm.audit"
    # Without a network: the addresses of the example are somebody else's.
    done = ansible("unshare", "--net", *shlex.split(the(command)), ANSIBLE_SSH_EXECUTABLE=program)
    names = {path.name for path in (tmp_path / "reports").iterdir()}
    assert names >= {"report.html", "report.json", "report.sarif", "report.xml", "evidence.json", "SHA256SUMS"}, (
        done.stdout
    )
    assert inventory.is_dir()
    told = json.loads((tmp_path / "reports/report.json").read_text(encoding="utf-8"))
    assert told["verdict"]["word"] == "not checked", "nobody was reached"


@pytest.mark.parametrize(("paths", "report"), [("deploy/", "vllm.sarif"), ("deploy,units", "report.json")])
def test_the_linter_reads_what_lies_there(ansible: Run, tmp_path: Path, paths: str, report: str) -> None:
    for folder in ("deploy", "units"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "vllm.service").write_text(UNIT, encoding="utf-8")
    (tmp_path / "vllm.service").write_text(UNIT, encoding="utf-8")
    command = documents.typed(the(f"ansible-playbook hardened.vllm.lint -e lint_paths={paths}"), SYNOPSIS)
    done = ansible(*shlex.split(command))
    assert done.returncode != 0 and "finding(s) of severity error or worse" in done.stdout
    assert "arg-host" in (tmp_path / report).read_text(encoding="utf-8")


def test_examples_of_plugins_are_tasks(ansible: Run, tmp_path: Path) -> None:
    tasks = [task for found in documents.examples().values() for task in found]
    assert len(tasks) > 30
    (tmp_path / "examples.yml").write_text(json.dumps([{"hosts": "localhost", "tasks": tasks}]), encoding="utf-8")
    done = ansible("ansible-playbook", "--syntax-check", "examples.yml")
    assert done.returncode == 0, done.stderr
    (tmp_path / "examples.yml").write_text(
        json.dumps([{"hosts": "localhost", "tasks": [{"hardened.vllm.nothing": {}}]}]), encoding="utf-8"
    )
    assert ansible("ansible-playbook", "--syntax-check", "examples.yml").returncode != 0
