# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Eight mistakes in a declaration are eight findings, and no host hears of it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import ROOT, Run

SAMPLES = sorted(path.name for path in (ROOT / "inventory-sample").iterdir())


def spy(place: Path) -> tuple[str, Path]:
    """A program in place of ssh that writes down every call and refuses it."""
    calls = place / "calls"
    program = place / "ssh"
    program.write_text(f'#!/bin/sh\necho "$@" >> {calls}\nexit 255\n', encoding="utf-8")
    program.chmod(0o755)
    return str(program), calls


def inventory(place: Path, sample: str = "data-parallel") -> tuple[Path, dict[str, Any], dict[str, Any]]:
    copy = place / "inventory"
    shutil.copytree(ROOT / "inventory-sample" / sample, copy)
    cluster = yaml.safe_load((copy / "group_vars/all.yml").read_text(encoding="utf-8"))
    hosts = yaml.safe_load((copy / "hosts.yml").read_text(encoding="utf-8"))
    return copy, cluster, hosts


def save(place: Path, cluster: dict[str, Any], hosts: dict[str, Any]) -> None:
    (place / "group_vars/all.yml").write_text(yaml.safe_dump(cluster), encoding="utf-8")
    (place / "hosts.yml").write_text(yaml.safe_dump(hosts), encoding="utf-8")


@pytest.mark.parametrize("playbook", ["site", "preflight"])
def test_eight_mistakes_are_eight_findings_and_no_connection(ansible: Run, tmp_path: Path, playbook: str) -> None:
    place, variables, hosts = inventory(tmp_path)
    cluster = variables["vllm_cluster"]
    engines = hosts["all"]["children"]["vllm_nodes"]["hosts"]
    cluster["modle"] = cluster["model"]
    cluster["engine"]["port"] = "8000"
    cluster["networks"]["edge"]["cidrs"] = ["10.20.2.0/25"]
    engines["engine1"]["vllm_node"]["addresses"]["fabric"] = ["10.99.1.11"]
    engines["engine2"]["vllm_node"]["addresses"]["fabric"] = ["0.0.0.0"]
    cluster["engine"]["arguments"] = {"allowed-media-domains": []}
    cluster["tenants"][0]["keys"][0]["value"] = "short-and-secret"
    cluster["admin"]["ssh_from"] = ["0.0.0.0/0"]
    hosts["all"]["children"]["vllm_gateways"]["hosts"]["gateway1"]["vllm_node"]["addresses"]["edge"] = ["10.20.2.20"]
    hosts["all"]["children"]["vllm_gateways"]["hosts"]["gateway1"]["vllm_node"]["addresses"]["management"] = [
        "10.20.2.21"
    ]
    save(place, variables, hosts)
    program, calls = spy(tmp_path)
    done = ansible("ansible-playbook", "-i", str(place), f"hardened.vllm.{playbook}", ANSIBLE_SSH_EXECUTABLE=program)
    assert done.returncode != 0
    assert not calls.exists()
    found = re.findall(r"(\d+)\. error \[([a-z-]+)\]", done.stdout)
    assert sorted({rule for _number, rule in found}) == [
        "address-outside-network",
        "address-wildcard",
        "admin-everyone",
        "argument-owned",
        "bad-value",
        "network-overlap",
        "unknown-key",
        "wrong-type",
    ]
    assert {number for number, _rule in found} == {str(number) for number in range(1, 9)}
    assert "No host was touched" in done.stdout
    assert "short-and-secret" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sound_sample_gets_as_far_as_the_hosts(ansible: Run, tmp_path: Path, sample: str) -> None:
    place, _cluster, _hosts = inventory(tmp_path, sample)
    program, calls = spy(tmp_path)
    done = ansible("ansible-playbook", "-i", str(place), "hardened.vllm.site", ANSIBLE_SSH_EXECUTABLE=program)
    assert done.returncode != 0
    assert calls.exists()
    assert "3 host(s) cannot be reached: engine1, engine2, gateway1" in done.stdout
    assert "Nothing was changed on any host" in done.stdout


def test_a_filter_says_what_it_wanted(ansible: Run) -> None:
    expression = "{{ 'text' | hardened.vllm.plan([]) }}"
    done = ansible("ansible", "localhost", "-m", "ansible.builtin.debug", "-a", f'msg="{expression}"')
    assert "hardened.vllm.plan: hosts must be a mapping, found a list" in done.stdout + done.stderr
