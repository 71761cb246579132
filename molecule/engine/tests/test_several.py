# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several engines on one node: each with unit, files and directories of its own. vLLM itself is a stand-in here."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from engine_lab import play
from lab.testing import Console

UNITS = ("hardened-vllm-engine", "hardened-vllm-engine-1")
TRACES = "/etc/systemd/system/hardened-vllm-engine-1.service /etc/hardened-vllm/engine-1 /run/vllm-engine-1"


@pytest.fixture
def shell(console: Callable[[str], Console]) -> Callable[[str], str]:
    return console("pair1").shell


@pytest.fixture(scope="module", autouse=True)
def up() -> None:
    code, said = play("several.yml")
    assert code == 0, said


def runs(shell: Callable[[str], str]) -> list[str]:
    return [shell(f"systemctl show -P InvocationID {unit}").strip() for unit in UNITS]


def test_both_run_apart(shell: Callable[[str], str]) -> None:
    assert shell(f"systemctl is-active {' '.join(UNITS)}").split() == ["active", "active"]
    assert shell("ss -Htln 'sport = :8000 or sport = :8001' | wc -l").strip() == "2"
    assert shell("stat -c %a /var/lib/vllm /var/lib/vllm-engine-1 /run/vllm-engine-1").split() == ["700"] * 3


def test_a_second_run_changes_nothing(shell: Callable[[str], str]) -> None:
    before = runs(shell)
    code, said = play("several.yml")
    assert code == 0, said
    assert "changed=0 " in said
    assert runs(shell) == before


def test_a_change_of_one_leaves_the_other_running(shell: Callable[[str], str]) -> None:
    before = runs(shell)
    code, said = play("several.yml", engine_options={"engine-1": ["--seed", "1"]})
    assert code == 0, said
    after = runs(shell)
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_a_failure_of_one_is_taken_back_there(shell: Callable[[str], str]) -> None:
    before = runs(shell)
    code, said = play("several.yml", engine_options={"engine-1": ["--stand-in-fails-after", "0"]})
    assert code != 0
    assert "Engine b does not serve as declared." in said
    assert "The former state is back on all its nodes and generates again." in said
    assert runs(shell)[0] == before[0]
    assert shell(f"systemctl is-active {' '.join(UNITS)}").split() == ["active", "active"]


def test_what_is_no_longer_planned_goes(shell: Callable[[str], str]) -> None:
    kept = runs(shell)[0]
    code, said = play("several.yml", engine_names=["engine"])
    assert code == 0, said
    assert shell(f"ls -d {TRACES} 2>/dev/null || true") == ""
    assert shell("ss -Htln 'sport = :8001' | wc -l").strip() == "0"
    assert runs(shell)[0] == kept


def test_processes_of_one_engine_are_refused_before_anything_changes(shell: Callable[[str], str]) -> None:
    before = runs(shell)
    same = {"group_name": "a"}
    code, said = play(
        "several.yml", engine_parts=[{"name": name, "user": "vllm", **same} for name in ("engine", "engine-1")]
    )
    assert code != 0
    assert "several processes of engine a on this node" in said
    assert runs(shell) == before
