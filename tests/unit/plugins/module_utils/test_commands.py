# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way a program can fail is told in words."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils.commands import CommandError, run


def failure(*argv: str, timeout: float = 30) -> str:
    with pytest.raises(CommandError) as caught:
        run(argv, timeout)
    return str(caught.value)


def test_output_is_returned_and_no_shell_is_involved() -> None:
    assert run(["echo", "$HOME", "a  b", 3]) == "$HOME a  b 3\n"


def test_messages_are_in_english_whatever_the_host_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE", "de")
    assert run(["sh", "-c", "echo $LC_ALL $LANGUAGE"]) == "C.UTF-8 C\n"


def test_a_status_comes_with_what_was_written() -> None:
    script = "echo one; echo two >&2; exit 7"
    assert failure("sh", "-c", script).endswith("ended with status 7:\none\ntwo")
    assert failure("false") == "false: ended with status 1 and wrote nothing"
    assert failure("sh", "-c", "kill -9 $$").endswith("killed by signal 9 and wrote nothing")


def test_long_output_is_cut_to_its_end() -> None:
    text = failure("sh", "-c", "seq 100; exit 1")
    assert "[60 earlier lines left out]\n61\n" in text
    assert text.endswith("\n100")


def test_a_program_that_is_not_there_or_no_program(tmp_path: Path) -> None:
    assert failure("no-such-program", "-x") == "no-such-program -x: the program no-such-program is not on this host"
    (tmp_path / "text").write_text("")
    assert "cannot be started: Permission denied" in failure(str(tmp_path / "text"))


def test_a_hanging_program_is_killed_with_its_children() -> None:
    began = time.monotonic()
    assert "still running after 0.5 seconds, killed" in failure("sh", "-c", "sleep 61.5 & sleep 61.5", timeout=0.5)
    assert time.monotonic() - began < 10
    assert subprocess.run(["pgrep", "-f", "^sleep 61.5"], check=False, capture_output=True).stdout == b""
