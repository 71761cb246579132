# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook site where one of several engines fails: its order and its conditions, with roles that only note what they are asked."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENGINES = ["engine1", "engine2", "engine3"]
NOTE = """- ansible.builtin.lineinfile: {path: "{{ notes }}/ROLE", line: "{{ inventory_hostname }} TEXT", create: true}
"""
PLAN = {
    "cluster": {"members": {name: [name] for name in ENGINES}, "secrets": []},
    "host": {
        "engines": [],
        "gateway": {
            "listen": [],
            "server_name": "x",
            "upstreams": [{"name": name, "engine": name} for name in ENGINES],
        },
    },
}
ROLES = {
    "preflight/tasks/main.yml": """
- ansible.builtin.set_fact:
    preflight_plan: '{{ plans[inventory_hostname] }}'
    preflight_drained: [engine1]
    preflight_peers: ['{{ inventory_hostname }}']
    preflight_quarantined: '{{ quarantined | default([]) }}'
""",
    "isolation/tasks/main.yml": "[]\n",
    "engine/tasks/guard.yml": "[]\n",
    "engine/tasks/way.yml": "- ansible.builtin.set_fact: {engine_way_changes: '{{ way_changes }}'}\n",
    "engine/tasks/main.yml": NOTE.replace("ROLE", "engine").replace("TEXT", "begun")
    + "- ansible.builtin.fail: {msg: 'put back'}\n  when: inventory_hostname in broken\n"
    + NOTE.replace("ROLE", "engine").replace("TEXT", "changed"),
    "gateway/defaults/main.yml": "gateway_drained: '{{ preflight_drained }}'\n",
    "gateway/tasks/guard.yml": "[]\n",
    "gateway/tasks/main.yml": NOTE.replace("ROLE", "gateway").replace(
        "TEXT", "{{ gateway_drained | sort | join(',') }}"
    ),
}


@dataclass(frozen=True)
class Outcome:
    """How a run ended, what it said, and what the roles noted."""

    code: int
    said: str
    notes: dict[str, list[str]]


def site(
    directory: Path, broken: list[str], way_changes: bool, restart_ok: bool = True, quarantined: tuple[str, ...] = ()
) -> Outcome:
    """Run the collection's own playbook with those roles on this machine."""
    collection = directory / "ansible_collections/hardened/vllm"
    for path, text in ROLES.items():
        file = collection / "roles" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for name in ("playbooks", "plugins", "meta"):
        (collection / name).symlink_to(ROOT / name)
    notes = directory / "notes"
    notes.mkdir()
    plans: dict[str, Any] = {"gateway1": PLAN}
    for name in ENGINES:
        plans[name] = {**PLAN, "host": {"engines": [{"name": "engine", "group_name": name}], "gateway": None}}
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    variables: dict[str, Any] = {
        **local,
        "plans": plans,
        "broken": broken,
        "way_changes": way_changes,
        "quarantined": list(quarantined),
        "notes": str(notes),
    }
    variables |= {"vllm_cluster": {"name": "x"}, "site_restart_ok": restart_ok}
    groups = {"vllm_nodes": {"hosts": dict.fromkeys(ENGINES)}, "vllm_gateways": {"hosts": {"gateway1": None}}}
    inventory = directory / "inventory.json"
    inventory.write_text(json.dumps({"all": {"children": groups, "vars": variables}}))
    argv = ["ansible-playbook", "-i", str(inventory), str(ROOT / "playbooks/site.yml")]
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(directory),
        "ANSIBLE_NOCOLOR": "1",
    }
    done = subprocess.run(
        argv, cwd=directory, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    written = {file.name: sorted(file.read_text().splitlines()) for file in notes.iterdir()}
    return Outcome(done.returncode, " ".join((done.stdout + done.stderr).split()), written)


def test_all_is_well(tmp_path: Path) -> None:
    outcome = site(tmp_path, [], way_changes=True)
    assert outcome.code == 0, outcome.said
    assert outcome.notes["gateway"] == ["gateway1 engine1"], "drained by an operator"


def test_gateways_follow_the_engines_that_are_reached_in_another_way_and_leave_out_those_put_back(
    tmp_path: Path,
) -> None:
    outcome = site(tmp_path, ["engine2"], way_changes=True)
    assert [line for line in outcome.notes["engine"] if line.endswith("changed")] == [
        "engine1 changed",
        "engine3 changed",
    ]
    assert outcome.notes["gateway"] == ["gateway1 engine1,engine2"]
    assert outcome.code != 0
    assert "engine2: put back" in outcome.said


@pytest.mark.parametrize("way_changes", [True, False])
def test_what_is_in_quarantine_is_left_alone(tmp_path: Path, way_changes: bool) -> None:
    outcome = site(tmp_path, [], way_changes, quarantined=("engine2",))
    assert outcome.code == 0, outcome.said
    assert {line.split()[0] for line in outcome.notes["engine"]} == {"engine1", "engine3"}
    assert "engine2: in quarantine" in outcome.said


def test_gateways_stay_as_they_are_when_every_engine_was_put_back(tmp_path: Path) -> None:
    outcome = site(tmp_path, ENGINES, way_changes=True)
    assert outcome.code != 0
    assert "gateway" not in outcome.notes


@pytest.mark.parametrize("broken", ENGINES)
def test_where_the_way_stays_the_first_failure_ends_the_run(tmp_path: Path, broken: str) -> None:
    outcome = site(tmp_path, [broken], way_changes=False)
    assert outcome.code != 0
    assert not [line for line in outcome.notes["engine"] if line.endswith("changed")]
    assert "gateway" not in outcome.notes


def test_where_nothing_may_restart_no_way_can_change(tmp_path: Path) -> None:
    outcome = site(tmp_path, ["engine2"], way_changes=True, restart_ok=False)
    assert outcome.code != 0, "as the guard would have had it before"
    assert "gateway" not in outcome.notes


def test_without_a_restart_gateways_follow_too(tmp_path: Path) -> None:
    outcome = site(tmp_path, [], way_changes=False, restart_ok=False)
    assert outcome.code == 0, outcome.said
    assert outcome.notes["gateway"] == ["gateway1 engine1"]
