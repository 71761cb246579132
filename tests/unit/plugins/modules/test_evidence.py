# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host shows of itself goes into an archive, its secrets do not."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.hardened.vllm.plugins.module_utils import commands
from ansible_collections.hardened.vllm.plugins.modules import evidence

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    secret = tmp_path / "etc" / "secrets.yaml"
    secret.parent.mkdir()
    secret.write_text(f'# not-a-secret-but-a-remark\napi-key: "{KEY}"\n')
    (tmp_path / "etc" / "link").symlink_to("secrets.yaml")
    os.mkfifo(tmp_path / "etc" / "pipe")

    def say(argv: list[str], _timeout: float) -> str:
        if argv[0] == "nft":
            raise commands.CommandError("nft list ruleset: the program nft is not on this host\nmore")
        return f"{argv[0]} knows {KEY}\n"

    monkeypatch.setattr(commands, "run", say)

    def call(**more: object) -> tuple[dict[str, Any], dict[str, str]]:
        given = {"directory": str(tmp_path / "kept"), "hashed": [str(secret.parent)], "secret_files": [str(secret)]}
        with patch_module_args({**given, **more}), pytest.raises(SystemExit):
            evidence.main()
        out = capsys.readouterr().out
        assert KEY not in out
        result = json.loads(out)
        texts = {}
        if Path(result.get("path", "/none")).exists():
            with tarfile.open(result["path"]) as archive:
                texts = {name: archive.extractfile(name).read().decode() for name in archive.getnames()}  # type: ignore[union-attr]
        return result, texts

    return call


def test_secrets_are_digests_everywhere(run) -> None:
    result, texts = run()
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    assert texts["sockets.txt"] == f"ss knows <sha256:{digest}>\n"
    assert not [name for name, text in texts.items() if KEY in text]
    assert hashlib.sha256(Path(result["path"]).read_bytes()).hexdigest() == result["sha256"]
    assert Path(result["path"]).stat().st_mode & 0o777 == 0o600
    assert Path(result["path"]).parent.stat().st_mode & 0o777 == 0o700


def test_a_secret_of_somebody_elses_is_a_digest_too(run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another program was given on its command line is in no file of ours."""
    monkeypatch.setattr(commands, "run", lambda *_given: "1 root vllm serve /m --api-key sk-theirs-1234 --port 8000\n")
    _result, texts = run()
    digest = hashlib.sha256(b"sk-theirs-1234").hexdigest()
    assert texts["processes.txt"] == f"1 root vllm serve /m --api-key sha256:{digest} --port 8000\n"
    assert not [name for name, text in texts.items() if "sk-theirs" in text]


def test_files_are_listed_with_what_they_are(run, tmp_path: Path) -> None:
    _result, texts = run()
    lines = {line.rsplit(" ", 1)[1]: line for line in texts["files.txt"].splitlines()}
    content = (tmp_path / "etc/secrets.yaml").read_bytes()
    assert lines[f"{tmp_path}/etc/secrets.yaml"].startswith(hashlib.sha256(content).hexdigest())
    assert lines[f"{tmp_path}/etc/link"].startswith("-> secrets.yaml ")
    assert lines[f"{tmp_path}/etc/pipe"].startswith("special ")
    assert f" {os.getpid()} " in f" {texts['programs.txt']}".replace("\n", " ")


def test_what_is_missing_is_said_and_fails_nothing(run) -> None:
    result, texts = run()
    assert result["missing"] == ["rules.txt: nft list ruleset: the program nft is not on this host"]
    assert texts["missing.txt"] == result["missing"][0] + "\n" and "rules.txt" not in texts


def test_check_mode_writes_nothing(run, tmp_path: Path) -> None:
    result, texts = run(_ansible_check_mode=True)
    assert result["changed"] and not texts and not (tmp_path / "kept").exists()


def test_a_place_that_cannot_be_written_is_named(run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result, _texts = run(directory=str(tmp_path / "file"))
    assert result["failed"] and "the evidence cannot be kept" in result["msg"]
