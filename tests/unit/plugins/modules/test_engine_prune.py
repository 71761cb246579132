# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is removed of releases and revisions, and everything that is not."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import engine_prune
from ansible_collections.hardened.vllm.plugins.modules import engine_prune as module

FIRST, SECOND, THIRD = "1" * 40, "2" * 40, "3" * 40


class Node:
    """A root of releases and a folder of revisions, younger by their number, and what runs."""

    def __init__(self, root: Path) -> None:
        self.root, self.models = root / "engine", root / "models" / "acme--tiny"
        self.units, self.proc, self.notes = root / "units", root / "proc", root / "notes"
        for folder in (self.root, self.models, self.units, self.proc, self.notes):
            folder.mkdir(parents=True)

    def release(self, name: str, moment: int, **more: Any) -> Path:
        told = {"format": 1, "package": "vllm", "version": name, **more}
        return self.made(self.root / name, "manifest.json", told, moment)

    def revision(self, name: str, moment: int, **more: Any) -> Path:
        told = {"format": 1, "repository": "acme/tiny", "revision": name, "files": {"config.json": {}}, **more}
        path = self.made(self.models / name, ".manifest.json", told, moment)
        (path / "config.json").write_text("{}")
        return path

    def made(self, path: Path, manifest: str, told: dict[str, Any], moment: int) -> Path:
        path.mkdir()
        (path / manifest).write_text(json.dumps(told))
        os.utime(path / manifest, (moment, moment))
        (path / "config.json").write_bytes(bytes(10_000))
        return path

    def prune(self, planned: list[Path], keep: int = 1, check_mode: bool = False, models: bool = False) -> list[str]:
        params: dict[str, Any] = {"root": str(self.root), "models": None, "repository": None, "keep": keep}
        if models:
            params |= {"root": None, "models": str(self.models), "repository": "acme/tiny"}
        result = module.prune({**params, "planned": [str(path) for path in planned]}, check_mode)
        assert result["bytes"] == sum(result["removed"].values())
        assert result["changed"] == bool(result["removed"])
        self.said = result["diff"]["prepared"]
        return sorted(Path(path).name for path in result["removed"])


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    made = Node(tmp_path)
    monkeypatch.setattr(engine_prune, "UNITS", str(made.units / "hardened-vllm-*.service"))
    monkeypatch.setattr(engine_prune, "QUADLETS", str(made.units / "hardened-vllm-*.container"))
    monkeypatch.setattr(engine_prune, "NOTES", str(made.notes / "*-before.json"))
    monkeypatch.setattr(engine_prune, "PROC", str(made.proc))
    return made


@pytest.mark.parametrize(("keep", "gone"), [(0, ["1", "2", "4"]), (1, ["1", "2"]), (2, ["1"]), (9, [])])
def test_the_planned_one_stays_and_the_last_ones_to_go_back_to(node: Node, keep: int, gone: list[str]) -> None:
    for number in (1, 2, 3, 4):
        node.release(str(number), number)
    assert node.prune([node.root / "3"], keep, check_mode=True) == gone
    assert sorted(path.name for path in node.root.iterdir()) == ["1", "2", "3", "4"]
    assert f"keep {node.root}/3: planned" in node.said
    assert ("bytes)" in node.said) == bool(gone)
    assert node.prune([node.root / "3"], keep) == gone
    assert sorted(path.name for path in node.root.iterdir()) == sorted({"1", "2", "3", "4"} - set(gone))
    assert node.prune([node.root / "3"], keep) == []


def test_what_is_used_stays_whoever_uses_it(node: Node) -> None:
    for number in range(1, 7):
        node.release(f"0.{number}", number)
    (node.units / "hardened-vllm-engine.service").write_text(f"ExecStart={node.root}/0.1/bin/python -m vllm\n")
    unit = base64.b64encode(f"ExecStart={node.root}/0.2/bin/python".encode()).decode()
    entry = {"path": "/etc/u", "kind": "file", "content": unit, "mode": 420, "uid": 0, "gid": 0}
    (node.notes / "engine-before.json").write_text(json.dumps({"format": 1, "paths": [entry]}))
    for number, name, text in (
        ("10", "cmdline", f"{node.root}/0.3/bin/python\0-m\0vllm"),
        ("11", "maps", f"7f-80 r-xp 0 fe:00 1 {node.root}/0.4/lib/x.so\n"),
        ("12", "cmdline", f"ls\0{node.root}/0.55"),
    ):
        (node.proc / number).mkdir()
        (node.proc / number / name).write_text(text)
    assert node.prune([], keep=0) == ["0.5", "0.6"]


def test_what_a_quadlet_names_stays_while_it_is_stopped_too(node: Node) -> None:
    for number, name in enumerate((FIRST, SECOND, THIRD), 1):
        node.revision(name, number)
    first = node.models / FIRST
    (node.units / "hardened-vllm-engine.container").write_text(f"Volume={first}:{first}:ro,nosuid,nodev,noexec\n")
    assert node.prune([node.models / THIRD], keep=0, models=True) == [SECOND]


def test_what_runs_stays_where_the_root_is_a_link(node: Node, tmp_path: Path) -> None:
    """The kernel tells where it lies, not by which way it was found."""
    node.release("0.1", 1)
    node.release("0.2", 2)
    (node.proc / "10").mkdir()
    (node.proc / "10/maps").write_text(f"7f-80 r-xp 0 fe:00 1 {node.root}/0.1/lib/x.so\n")
    (tmp_path / "link").symlink_to(node.root)
    node.root = tmp_path / "link"
    assert node.prune([], keep=0) == ["0.2"]


def test_what_this_collection_did_not_put_there_is_never_touched(node: Node, tmp_path: Path) -> None:
    node.release("renamed", 1, version="0.1")
    node.release("other", 1, format=2)
    (node.root / "by-hand").mkdir()
    (node.root / "by-hand/manifest.json").write_text("[")
    (tmp_path / "elsewhere").mkdir()
    (node.root / "0.9").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/manifest.json").write_text(json.dumps({"format": 1, "version": "0.9"}))
    (node.root / ".0.8.partial").mkdir()
    before = sorted(node.root.iterdir())
    assert node.prune([], keep=0) == []
    assert sorted(node.root.iterdir()) == before


def test_revisions_go_likewise_but_for_strange_files_and_other_repositories(node: Node) -> None:
    node.revision(FIRST, 1)
    node.revision(SECOND, 2)
    node.revision(THIRD, 3)
    node.revision("4" * 40, 4, repository="acme/other")
    assert node.prune([node.models / THIRD], models=True) == [FIRST]
    adapter = node.models / SECOND / "adapter.safetensors"
    adapter.write_text("mine")
    assert node.prune([node.models / THIRD], keep=0, models=True) == []
    assert "holds files that nobody fetched: adapter.safetensors" in node.said
    adapter.unlink()
    assert node.prune([node.models / THIRD], keep=0, models=True) == [SECOND]
    assert sorted(path.name for path in node.models.iterdir()) == [".lock", THIRD, "4" * 40]


def test_a_damaged_note_removes_nothing(node: Node) -> None:
    """What it would have kept is not known."""
    node.release("0.1", 1)
    (node.notes / "engine-before.json").write_text("[")
    with pytest.raises(engine_prune.files.FileProblem, match="is damaged"):
        node.prune([], keep=0)
    assert (node.root / "0.1").exists()
