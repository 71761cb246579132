# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ast
import contextlib
import re
import subprocess
from pathlib import Path

import pytest
from lab import demo, images, labs, playbook
from lab.errors import LabError
from lab.playbook import Step
from lab.progress import Progress
from lab.spec import load

OUTPUT = """
PLAY [Bring up the engines] ****************************************************

TASK [hardened.vllm.engine : Start the unit] ***********************************
changed: [engine1]

PLAY RECAP *********************************************************************
engine1                    : ok=7    changed=3    unreachable=0    failed=0    skipped=3    rescued=0    ignored=0
gateway                    : ok=3    changed=0    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0
"""


@pytest.fixture
def way(tmp_path: Path) -> demo.Access:
    key = tmp_path / "a key"
    key.write_text("secret-key\n")
    return demo.Access("https://10.9.3.12/v1", tmp_path / "ca's.pem", key, "smollm2")


def test_tasks_and_changes_are_read_from_the_output() -> None:
    steps = [step for line in OUTPUT.splitlines() if (step := playbook.read_task(line))]
    assert steps == [Step("engine", "Start the unit")]
    assert playbook.read_task("TASK [Say how to call the service] *******") == Step("", "Say how to call the service")
    assert playbook.read_task("TASK [a.b.c : Validating arguments against arg spec 'main' - A role] ***") is None
    assert playbook.changed_tasks(OUTPUT) == {"engine1": 3, "gateway": 0}


def test_a_playbook_runs_and_a_failing_one_names_its_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book, log = tmp_path / "book.yml", tmp_path / "logs" / "book.log"
    play = "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n  - ansible.builtin.%s\n"
    book.write_text(play % "debug: {msg: hello}")
    assert playbook.run(book, Path("localhost,"), log, Progress()) == {"localhost": 0}
    assert "hello" in log.read_text()
    book.write_text(play % "fail: {msg: the disk is full}")
    with pytest.raises(LabError) as error:
        playbook.run(book, Path("localhost,"), log, Progress())
    assert str(log) in str(error.value)
    assert "the disk is full" in error.value.detail
    capsys.readouterr()


def test_the_environment_file_can_be_sourced(tmp_path: Path, way: demo.Access) -> None:
    file = tmp_path / "demo.env"
    file.write_text(demo.env_file(way))
    script = f'. {file}; printf "%s\\n" "$URL" "$CA_FILE" "$KEY_FILE" "$MODEL"'
    shown = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True).stdout.splitlines()
    assert shown == [way.url, str(way.ca_file), str(way.key_file), way.model]


def test_the_printed_commands_are_whole_and_show_no_key(way: demo.Access) -> None:
    text = demo.instructions(way)
    assert "secret-key" not in text
    curl = next(line for line in text.splitlines() if "| curl " in line)
    subprocess.run(["sh", "-nc", curl], check=True)
    shown = re.search(r"<<'END'\n(.*)\nEND\n", text, re.DOTALL)
    assert shown
    ast.parse(shown[1])


def test_the_printed_curl_line_hands_the_key_over_by_its_standard_input(tmp_path: Path, way: demo.Access) -> None:
    fake = tmp_path / "bin" / "curl"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\necho --\ncat\n')
    fake.chmod(0o755)
    curl = next(line for line in demo.instructions(way).splitlines() if "| curl " in line)
    shown = subprocess.run(
        ["sh", "-euc", curl], env={"PATH": f"{fake.parent}:/usr/bin:/bin"}, capture_output=True, text=True, check=True
    ).stdout
    arguments, _sep, given = shown.partition("\n--\n")
    assert given == 'header = "Authorization: Bearer secret-key"\n'
    assert "secret-key" not in arguments
    assert "https://10.9.3.12/v1/chat/completions" in arguments.splitlines()


def test_access_comes_from_the_demo_s_own_files() -> None:
    found = demo.access(load(demo.SPEC))
    assert found.url == "https://10.203.3.20/v1"
    assert found.model == "smollm2"
    assert found.key_file.suffix == ".key"
    assert found.ca_file.name == "ca.pem"


def test_a_refused_connection_is_told_with_what_to_look_at(way: demo.Access) -> None:
    way.ca_file.write_text("")
    nowhere = demo.Access("https://127.0.0.1:9/v1", Path("/etc/ssl/certs/ca-certificates.crt"), way.key_file, "m")
    with pytest.raises(LabError) as error:
        demo.ask(nowhere, "?")
    assert "no answer from https://127.0.0.1:9/v1" in str(error.value)
    assert "journalctl" in error.value.remedy


def test_down_does_not_use_the_namespace_the_last_lab_took_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    events: list[str] = []

    class Podman:
        def __init__(self) -> None:
            events.append("entered")

    monkeypatch.setattr(demo, "Host", Podman)
    monkeypatch.setattr(demo, "STATE", tmp_path / "state")
    monkeypatch.setattr(demo, "_only_one", contextlib.nullcontext)
    monkeypatch.setattr(labs, "own_names", lambda _host: ["demo"])
    monkeypatch.setattr(labs, "down", lambda _name, _progress: events.append("down"))
    monkeypatch.setattr(labs, "release_host", lambda _host: None)
    monkeypatch.setattr(images, "remove", lambda _host, keep_current: events.append("images"))
    demo.down()
    assert events[-3:] == ["down", "entered", "images"]
