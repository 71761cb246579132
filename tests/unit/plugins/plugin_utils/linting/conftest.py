# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of the readers share: findings as short tuples, folders from a mapping of names to texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.artefacts import lint_paths, lint_text

Seen = set[tuple[int, str]]


def seen(text: str, kind: str | None = None, path: str = "", release: str | None = None) -> Seen:
    """Line and rule of what is found, without what is only missing."""
    return {(f.line, f.rule) for f in lint_text(text, kind, path, release) if f.found != "nothing"}


def ruled(text: str, kind: str | None = None, path: str = "", release: str | None = None) -> set[str]:
    """The rules that speak."""
    return {finding.rule for finding in lint_text(text, kind, path, release)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], set[tuple[str, int, str]]]:
    """Write files below a new folder and lint it: path, line and rule of what is found, without what is missing."""
    monkeypatch.chdir(tmp_path)

    def lint(files: dict[str, str]) -> set[tuple[str, int, str]]:
        for name, text in files.items():
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        found = [(f.path, f.line, f.rule) for f in lint_paths(["in"]).findings if f.found != "nothing"]
        assert len(found) == len(set(found)), "said twice"
        return set(found)

    return lint
