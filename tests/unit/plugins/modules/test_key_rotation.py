# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""New keys take the place of old ones, of which nothing but a digest and an end is left."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.modules import key_rotation

OLD = "an-old-key-of-32-characters-1234"


def run(check: bool = False, **parameters: Any) -> tuple[int, dict[str, Any]]:
    given = json.dumps({"ANSIBLE_MODULE_ARGS": {"grace_seconds": 60, "_ansible_check_mode": check, **parameters}})
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-m", key_rotation.__name__]
    done = subprocess.run(argv, input=given, capture_output=True, text=True, check=False, env=environment)
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "k1.key"
    path.write_text(OLD + "\n")
    path.chmod(0o600)
    return path


def retired(key: Path) -> list[dict[str, Any]]:
    return list(json.loads(key.with_name("k1.key.retired").read_text()))


def test_a_new_key_and_the_digest_of_the_old_one(key: Path) -> None:
    code, result = run(files=[str(key)])
    new = key.read_text().strip()
    assert (code, result["changed"], result["rotated"]) == (0, True, [str(key)])
    assert len(new) == 64 and new != OLD
    assert retired(key) == [{"sha256": hashlib.sha256(OLD.encode()).hexdigest(), "expires": result["expires"]}]
    assert {path.stat().st_mode & 0o777 for path in key.parent.iterdir()} == {0o600}
    assert OLD not in key.with_name("k1.key.retired").read_text()
    assert OLD not in json.dumps(result) and new not in json.dumps(result)


def test_what_is_over_leaves_the_list_and_the_rest_stays(key: Path) -> None:
    run(files=[str(key)], grace_seconds=1000)
    first = retired(key)[0]
    key.with_name("k1.key.retired").write_text(json.dumps([first, {"sha256": "0" * 64, "expires": 1}]))
    run(files=[str(key)])
    assert retired(key)[0] == first
    assert len(retired(key)) == 2


def test_check_mode_writes_nothing(key: Path) -> None:
    code, result = run(check=True, files=[str(key)])
    assert (code, result["changed"], [path.name for path in key.parent.iterdir()]) == (0, True, ["k1.key"])
    assert key.read_text() == OLD + "\n"


def test_an_interruption_between_the_two_files_leaves_the_old_key(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, written = key_rotation.keys.write, []

    def write(path: str, content: bytes) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(path)
        real(path, content)

    monkeypatch.setattr(key_rotation.keys, "write", write)
    with pytest.raises(KeyboardInterrupt):
        key_rotation.rotate(str(key), OLD.encode(), [], 1000, 1060)
    assert key.read_text() == OLD + "\n"
    monkeypatch.undo()
    key_rotation.rotate(str(key), OLD.encode(), retired(key), 1001, 1061)
    assert [entry["expires"] for entry in retired(key)] == [1061], "one entry for one key"


@pytest.mark.parametrize(
    ("content", "list_", "says"),
    [
        ("$ANSIBLE_VAULT;1.1;AES256\n00", None, "encrypted by a vault"),
        ("", None, "is empty"),
        (OLD, "{}x", "no list of retired keys"),
        (OLD, '[{"sha256": 1}]', "no list of retired keys"),
    ],
)
def test_what_cannot_be_replaced_stays(key: Path, content: str, list_: str | None, says: str) -> None:
    key.write_text(content)
    if list_ is not None:
        key.with_name("k1.key.retired").write_text(list_)
    code, result = run(files=[str(key)])
    assert code == 1
    assert says in result["msg"]
    assert key.read_text() == content


def test_files_that_are_not_there(tmp_path: Path) -> None:
    code, result = run(files=[str(tmp_path / "none.key")])
    assert code == 1 and "none.key" in result["msg"]
    assert run(files=[], grace_seconds=-1)[1]["msg"] == "grace_seconds is -1, expected 0 or more"
