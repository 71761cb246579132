# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The installer's unit: what it is given, and that it runs nothing on a host that would not hold it back."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import commands, engine_confined

# In place of systemd: notes its words and runs what follows "--".
STAND_IN = """#!/bin/sh
printf '%s\\n' "$@" > {notes}
while [ "$1" != -- ]; do shift; done
shift
exec {wrapped} "$@"
"""


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "systemctl").write_text("#!/bin/sh\n")
    (tmp_path / "systemctl").chmod(0o755)
    return tmp_path / "notes"


def stand_in(notes: Path, wrapped: str) -> None:
    program = notes.parent / "systemd-run"
    program.write_text(STAND_IN.format(notes=notes, wrapped=wrapped))
    program.chmod(0o755)


def python(code: str) -> list[str]:
    return ["/usr/bin/python3", "-c", code]


@pytest.mark.parametrize(("purpose", "held"), [("install", "the installer"), ("model", "what fetches the model")])
def test_where_packets_are_not_dropped_nothing_runs(notes: Path, tmp_path: Path, purpose: str, held: str) -> None:
    stand_in(notes, "")
    made = tmp_path / "made"
    with pytest.raises(
        commands.CommandError, match=f"does not hold {held} back to the declared destinations of purpose {purpose}"
    ):
        engine_confined.run(python(f"open({str(made)!r}, 'w')"), ["10.0.0.0/8"], 30, str(tmp_path), purpose)
    assert not made.exists()


def test_where_they_are_it_runs_with_the_declared_destinations_only(notes: Path, tmp_path: Path) -> None:
    # A network namespace of its own takes the place of the kernel's filter.
    stand_in(notes, "unshare --net")
    found = engine_confined.run(python("print('installed')"), ["10.0.0.5/32", "fd00::/64"], 30, str(tmp_path))
    assert found == "installed\n"
    words = notes.read_text().splitlines()
    assert "--property=IPAddressDeny=any" in words
    allowed = [word.rpartition("=")[2] for word in words if "IPAddressAllow" in word]
    assert allowed == ["10.0.0.5/32", "fd00::/64", "127.0.0.53/32"]


def test_who_may_call_nobody_has_no_network(notes: Path, tmp_path: Path) -> None:
    stand_in(notes, "unshare --net")
    assert engine_confined.run(python("print('installed')"), [], 30, str(tmp_path)) == "installed\n"
    words = notes.read_text().splitlines()
    assert "--property=PrivateNetwork=yes" in words
    assert [word for word in words if "IPAddress" in word] == []


def test_where_there_is_no_other_network_nothing_runs(notes: Path, tmp_path: Path) -> None:
    stand_in(notes, "")
    made = tmp_path / "made"
    with pytest.raises(commands.CommandError, match=r"PrivateNetwork= has no effect. Nothing was fetched"):
        engine_confined.run(python(f"open({str(made)!r}, 'w')"), [], 30, str(tmp_path))
    assert not made.exists()


def test_what_it_says_when_it_fails_is_kept(notes: Path, tmp_path: Path) -> None:
    stand_in(notes, "unshare --net")
    with pytest.raises(commands.CommandError, match="no such package"):
        engine_confined.run(python("raise SystemExit('no such package')"), ["10.0.0.0/8"], 30, str(tmp_path))


def test_credentials_go_by_the_file_and_not_by_the_command_line(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(notes, "unshare --net")
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:hush@10.0.0.5/simple")
    engine_confined.run(python(""), ["10.0.0.5/32"], 30, str(tmp_path))
    assert "hush" not in notes.read_text()
    assert "hush" in (tmp_path / "confined.env").read_text()


def test_values_of_the_environment_are_quoted() -> None:
    hostile = {"PIP_INDEX_URL": 'a"b\\c$d`e f', "SECRET": "no", "https_proxy": "http://p:1"}
    text = engine_confined.environment(hostile)
    assert text.splitlines()[1:] == ['https_proxy="http://p:1"']
    # What systemd.exec(5) unquotes in double quotes, a shell does too.
    script = f'{text.splitlines()[0]}; printf %s "$PIP_INDEX_URL"'
    shown = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout == hostile["PIP_INDEX_URL"]
