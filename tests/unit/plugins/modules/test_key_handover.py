# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A key and its successor: each step alone, repeated, and after an interruption."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.hardened.vllm.plugins.modules import key_handover

OLD = "an-old-key-of-32-characters-1234"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "upstream.key"
    path.write_text(OLD + "\n")
    return path


@pytest.fixture
def step(key: Path, capsys: pytest.CaptureFixture[str]):
    def run(name: str, **more: object) -> dict[str, Any]:
        with patch_module_args({"file": str(key), "step": name, **more}), pytest.raises(SystemExit):
            key_handover.main()
        out = capsys.readouterr().out
        for path in key.parent.iterdir():
            assert (path.read_text().strip() or "nothing") not in out, "keys are never shown"
        result: dict[str, Any] = json.loads(out)
        return result

    return run


def there(key: Path) -> dict[str, str]:
    return {path.name: path.read_text().strip() for path in sorted(key.parent.iterdir())}


def test_a_whole_handover(key: Path, step) -> None:
    assert step("offered")["begun"] is False
    assert step("offered")["begun"] is True
    found = there(key)
    new = found["upstream.key.next"]
    assert found["upstream.key"] == OLD and len(new) == 64 and new != OLD
    assert step("switched")["changed"]
    assert there(key) == {"upstream.key": new, "upstream.key.old": OLD}
    assert not step("switched")["changed"]
    assert not step("offered")["changed"], "the handover under way is ended first"
    assert step("finished")["changed"]
    assert there(key) == {"upstream.key": new}
    assert not step("finished")["changed"]
    assert key.stat().st_mode & 0o777 == 0o600


def test_an_interrupted_switch_is_repeated(key: Path, step, monkeypatch: pytest.MonkeyPatch) -> None:
    step("offered")
    new = there(key)["upstream.key.next"]
    rename = os.rename

    def interrupted(source: str, target: str) -> None:
        if source.endswith(".next"):
            raise KeyboardInterrupt
        rename(source, target)

    with monkeypatch.context() as broken:
        broken.setattr(os, "rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            key_handover.switch(str(key), False)
    assert there(key)["upstream.key"] == OLD, "the gateways' key is whole"
    assert "has not been switched to yet" in step("finished")["msg"]
    assert step("switched")["changed"]
    assert there(key) == {"upstream.key": new, "upstream.key.old": OLD}


def test_check_mode_writes_nothing(key: Path, step) -> None:
    assert step("offered", _ansible_check_mode=True)["changed"]
    assert there(key) == {"upstream.key": OLD}


@pytest.mark.parametrize(("content", "message"), [("\n", "is empty"), ("$ANSIBLE_VAULT;1.1;AES256\n", "by a vault")])
def test_what_cannot_be_replaced_is_named(key: Path, step, content: str, message: str) -> None:
    key.write_text(content)
    assert message in step("offered", _ansible_check_mode=True)["msg"]
    assert message in step("switched")["msg"]
    assert list(there(key)) == ["upstream.key"]
