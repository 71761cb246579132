# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Quarantine with nothing that can be reached: it says so for every host, and what it would drain is the whole engine."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
import yaml
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan
from support.topologies import declaration

from .conftest import ROOT, Run
from .test_preflight import inventory, spy

TASKS = ROOT / "playbooks/tasks"


@pytest.mark.parametrize(
    ("node", "expected"), [("engine11", {"engine11"}), ("engine12", {"engine11"}), ("gateway1", set())]
)
def test_a_node_without_an_api_takes_its_engine_out_of_service(
    ansible: Run, tmp_path: Path, node: str, expected: set[str]
) -> None:
    cluster, hosts = declaration("tensor parallel", (11, 12))
    made = plan(cluster, hosts, datetime.date(2026, 11, 23))
    upstreams = [one for host in made["hosts"].values() for one in (host["gateway"] or {}).get("upstreams", [])]
    assert {one["host"] for one in upstreams} == {"engine11"}, "else the other node has an API"
    (block,) = yaml.safe_load((TASKS / "quarantine_drain.yml").read_text(encoding="utf-8"))
    given = {**block["vars"], "quarantine_node": node, "preflight_upstreams": upstreams}
    given["preflight_plan"] = {"cluster": {"members": made["members"]}, "host": made["hosts"]["gateway1"]}
    (tmp_path / "given.json").write_text(json.dumps(given), encoding="utf-8")
    shown = "msg=found:{{ __quarantine_upstreams | join(' ') }}:"
    done = ansible("ansible", "localhost", "-m", "ansible.builtin.debug", "-a", shown, "-e", "@given.json")
    assert f"found:{' '.join(expected)}:" in done.stdout, done.stdout + done.stderr


def test_what_cannot_be_reached_is_said(ansible: Run, tmp_path: Path) -> None:
    place, _cluster, _hosts = inventory(tmp_path, "replicas")
    program, calls = spy(tmp_path)
    argv = ["ansible-playbook", "-i", str(place), "hardened.vllm.quarantine", "-e", "quarantine_node=engine1"]
    done = ansible(*argv, ANSIBLE_SSH_EXECUTABLE=program)
    assert done.returncode == 2, done.stdout
    assert calls.exists()
    said = " ".join(done.stdout.split())
    assert "engine1 is NOT closed: it could not be reached" in said, done.stdout
    assert "Gateway gateway1 was not told: it could not be reached" in said


@pytest.mark.parametrize("node", ["", "gateway1", "engine1,nobody"])
def test_what_is_no_node_is_refused_before_any_connection(ansible: Run, tmp_path: Path, node: str) -> None:
    place, _cluster, _hosts = inventory(tmp_path, "replicas")
    program, calls = spy(tmp_path)
    argv = ["ansible-playbook", "-i", str(place), "hardened.vllm.quarantine", "-e", f"quarantine_node={node}"]
    done = ansible(*argv, ANSIBLE_SSH_EXECUTABLE=program)
    assert done.returncode == 2, done.stdout
    assert f"Nothing was changed. Found quarantine_node={node};" in " ".join(done.stdout.split())
    assert not calls.exists()
