# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who drained what: notes on the controller that outlive a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.hardened.vllm.plugins.modules import drain_state


@pytest.mark.parametrize(
    ("now", "state", "by", "then"),
    [
        (None, "drained", "operator", "operator"),
        (None, "drained", "change", "change"),
        ("operator", "drained", "change", "operator"),
        ("change", "drained", "operator", "operator"),
        ("change", "drained", "change", "change"),
        ("operator", "active", "change", "operator"),
        ("change", "active", "change", None),
        ("operator", "active", "operator", None),
        ("change", "active", "operator", None),
        (None, "active", "change", None),
    ],
)
def test_the_word_of_an_operator_outlasts_that_of_a_change(now, state: str, by: str, then) -> None:
    assert drain_state.wanted(now, state, by) == then


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def call(names: list[str], state: str, by: str = "operator", **more: object) -> dict:
        given = {"directory": str(tmp_path / "drained"), "names": names, "state": state, "by": by, **more}
        with patch_module_args(given), pytest.raises(SystemExit):
            drain_state.main()
        return json.loads(capsys.readouterr().out)

    return call


def test_notes_are_made_once_and_taken_back(run, tmp_path: Path) -> None:
    assert run(["b", "a"], "drained", "change")["changed_names"] == ["a", "b"]
    assert not run(["a", "b"], "drained", "change")["changed"]
    folder = tmp_path / "drained"
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b"], "nothing partial is left"
    assert [oct(path.stat().st_mode & 0o777) for path in (folder, folder / "a")] == ["0o700", "0o600"]
    assert drain_state.read(str(folder / "a")) == "change"
    assert run(["a"], "active", "change")["changed_names"] == ["a"]
    assert [path.name for path in folder.iterdir()] == ["b"]


def test_an_empty_note_is_an_operators(run, tmp_path: Path) -> None:
    (tmp_path / "drained").mkdir()
    (tmp_path / "drained/a").touch()
    assert not run(["a"], "active", "change")["changed"]
    assert (tmp_path / "drained/a").exists()


def test_check_mode_notes_nothing(run, tmp_path: Path) -> None:
    assert run(["a"], "drained", _ansible_check_mode=True)["changed"]
    assert not (tmp_path / "drained").exists()


def test_a_name_is_no_path(run, tmp_path: Path) -> None:
    said = run(["../a", "b"], "drained")
    assert said["failed"] and "found '../a'" in said["msg"]
    assert not (tmp_path / "drained").exists()


def test_what_cannot_be_written_is_said(run, tmp_path: Path) -> None:
    (tmp_path / "drained").write_text("a file where the directory should be")
    said = run(["a"], "drained")
    assert said["failed"] and "cannot keep the state on the controller" in said["msg"]
