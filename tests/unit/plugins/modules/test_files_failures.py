# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module files refuses, and what it does when something fails or it is stopped."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
from typing import Any

import pytest


def test_a_failed_check_puts_everything_back(node: Any) -> None:
    kept, link, gone = node.at("kept"), node.at("link"), node.at("gone")
    kept.write_bytes(b"old \xff\n")
    kept.chmod(0o604)
    os.utime(kept, ns=(1, 1_600_000_000_000_000_000))
    link.symlink_to("elsewhere")
    gone.write_text("to be removed\n")
    result = node.run(
        directories=[node.directory("new")],
        files=[node.file(name, "new\n") for name in ("kept", "link", "new/inner")],
        absent=[str(gone)],
        check=[node.sh("exit 0"), node.sh(f"cat {kept}; echo not good >&2; exit 3")],
        apply=[node.sh(f"touch {node.path('applied')}")],
    )
    assert result["failed"] is True and result["restored"] is True
    assert "ended with status 3:\nnew\nnot good\nAll files are as they were before." in result["msg"]
    assert kept.read_bytes() == b"old \xff\n"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o604
    assert kept.stat().st_mtime_ns == 1_600_000_000_000_000_000
    assert str(link.readlink()) == "elsewhere"
    assert gone.read_text() == "to be removed\n"
    assert node.names() == ["gone", "kept", "link"]
    assert list(node.state.iterdir()) == []


def test_a_failed_apply_puts_back_and_applies_the_old_state(node: Any) -> None:
    conf, running = node.at("conf"), node.at("running")
    conf.write_text("good\n")
    result = node.run(
        files=[node.file("conf", "bad\n")],
        apply=[node.sh(f"cp {conf} {running}"), node.sh(f"grep -q good {running}")],
    )
    assert result["failed"] is True and result["restored"] is True
    assert "ended with status 1 and wrote nothing" in result["msg"]
    assert "The old state was applied again." in result["msg"]
    assert (conf.read_text(), running.read_text()) == ("good\n", "good\n")


def test_says_both_when_the_old_state_cannot_be_applied(node: Any) -> None:
    result = node.run(files=[node.file("conf", "x\n")], apply=[node.sh("echo broken here; exit 1")])
    assert result["restored"] is True
    assert "Applying the old state failed too" in result["msg"]
    assert result["msg"].count("broken here") == 4  # twice in the command shown, twice in what it wrote
    assert not node.at("conf").exists()


@pytest.mark.parametrize(
    ("entry", "secrets", "expected"),
    [
        ({"path": "relative"}, {}, "files[0]: path 'relative': expected an absolute path"),
        ({"path": "/opt/../etc/x"}, {}, "expected an absolute path without '..'"),
        ({"mode": "416"}, {}, "mode '416': expected a quoted octal number with a leading zero"),
        ({"content": "@secret:up@"}, {}, "@secret:up@ is used, but secrets has no such member"),
        ({"content": "@secret:up@"}, {"up": "x" * 20}, "mode 0644 lets every user in, but the file holds a secret"),
        ({"content": "@secret:up@", "mode": "0600"}, {"up": ""}, "secrets.up: expected a text that is not empty"),
        ({"secret": True}, {}, "secret is true, but the content takes nothing from secrets"),
        ({"owner": "no-such-user"}, {}, "user no-such-user does not exist on this host"),
    ],
)
def test_wrong_input_is_refused_with_its_place(node: Any, entry: dict, secrets: dict, expected: str) -> None:
    result = node.run(files=[{**node.file("conf", "x\n"), **entry}], secrets=secrets)
    assert result["failed"] is True and expected in result["msg"]
    assert node.names() == []


def test_all_mistakes_are_named_at_once(node: Any) -> None:
    result = node.run(files=[node.file("a", "", mode="7"), node.file("a", "")], absent=["b/"])
    for part in ("files[0]: mode '7'", "is also in files[0]", "absent[0]: path 'b/'"):
        assert part in result["msg"]


def test_a_directory_where_a_file_should_be(node: Any) -> None:
    node.at("conf").mkdir()
    result = node.run(files=[node.file("first", "x\n"), node.file("conf", "x\n")])
    assert "conf: a directory is where a file should be; move it away first" in result["msg"]
    assert node.names() == ["conf"]


def test_other_things_in_the_way(node: Any) -> None:
    os.mkfifo(node.path("pipe"))
    node.at("file").write_text("")
    assert "neither a file nor a directory" in node.run(files=[node.file("pipe", "")])["msg"]
    wrong = node.run(directories=[node.directory("file")])
    assert "a file is where a directory should be" in wrong["msg"]
    assert "is a file, not a directory" in node.run(files=[node.file("file/x", "")])["msg"]
    missing = node.run(files=[node.file("none/x", "")])
    assert f"its directory {node.path('none')} does not exist" in missing["msg"]


def test_absent_leaves_a_directory_with_contents_and_undoes_the_rest(node: Any) -> None:
    node.at("d").mkdir()
    for name in ("x", "y"):
        node.at("d/" + name).write_text(name)
    result = node.run(absent=[node.path("d/x"), node.path("d")])
    assert "d: the directory is not empty (y), it is left alone" in result["msg"]
    assert node.names() == ["d", "d/x", "d/y"]


def test_a_killed_run_leaves_whole_files_and_the_next_run_finishes_it(node: Any) -> None:
    node.at("conf").write_text("old\n")
    big = "new line\n" * 200_000
    args = {
        "files": [node.file("conf", big)],
        "check": [node.hanging()],
        "apply": [node.sh(f"echo applied >> {node.path('log')}", paths=[node.path("conf")])],
    }
    process = node.start_and_wait(**args)
    process.kill()
    process.communicate()
    assert node.at("conf").read_text() == big
    node.at("go").touch()
    other = node.run(files=args["files"])
    assert other["changed"] is False, "the note of another task must not count"
    assert node.run(check_mode=True, **args)["changed"] is True
    second = node.run(**args)
    assert (second["changed"], second["resumed"], second["changed_paths"]) == (True, True, [])
    assert node.at("log").read_text() == "applied\n"
    assert node.run(**args)["changed"] is False


def test_a_resumed_run_that_fails_its_check_applies_nothing_and_stays_unfinished(node: Any) -> None:
    args = {
        "files": [node.file("conf", "bad\n")],
        "check": [node.hanging(), node.sh(f"! grep bad {node.path('conf')}")],
        "apply": [node.sh(f"echo applied >> {node.path('log')}")],
    }
    process = node.start_and_wait(**args)
    process.kill()
    process.communicate()
    node.at("go").touch()
    for _attempt in range(2):
        result = node.run(**args)
        assert "An earlier run was stopped before it had checked and applied what it wrote." in result["msg"]
    assert not node.at("log").exists()
    args["files"] = [node.file("conf", "good\n")]
    assert node.run(**args)["resumed"] is True
    assert node.at("log").read_text() == "applied\n"


def test_a_temporary_file_left_by_a_killed_run_goes_away(node: Any) -> None:
    leftover, foreign = (node.at(f".hardened-vllm-conf.{end}") for end in ("0123456789abcdef", "keep"))
    leftover.write_text("half")
    foreign.write_text("not ours")
    node.run(files=[node.file("conf", "new\n")])
    assert (leftover.exists(), foreign.exists()) == (False, True)


def test_sigterm_puts_back(node: Any) -> None:
    node.at("conf").write_text("old\n")
    process = node.start_and_wait(files=[node.file("conf", "new\n")], check=[node.hanging()])
    process.send_signal(signal.SIGTERM)
    result = node.finish(process)
    assert result["restored"] is True and "stopped by signal 15" in result["msg"]
    assert node.at("conf").read_text() == "old\n"


def test_a_second_run_waits_for_the_first(node: Any) -> None:
    process = node.start_and_wait(files=[node.file("conf", "first\n")], check=[node.hanging()])
    second = node.start(files=[node.file("conf", "second\n")])
    time.sleep(0.7)
    assert second.poll() is None
    assert node.at("conf").read_text() == "first\n"
    process.kill()
    process.communicate()
    assert node.finish(second)["changed"] is True
    assert node.at("conf").read_text() == "second\n"


def test_a_missing_or_hanging_program_is_named(node: Any) -> None:
    missing = node.run(files=[node.file("conf", "x\n")], check=[{"argv": ["/no/such/checker", "-t"]}])
    assert "/no/such/checker -t: the program /no/such/checker is not on this host" in missing["msg"]
    slow = node.run(files=[node.file("conf", "x\n")], check=[{"argv": ["sleep", "30"], "timeout_seconds": 1}])
    assert "sleep 30: still running after 1 seconds, killed" in slow["msg"]
    assert not node.at("conf").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small filesystem to fill")
def test_a_full_disk_is_named_and_nothing_is_lost(node: Any) -> None:
    node.at("disk").mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", node.path("disk")], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine mounts no tmpfs")
    try:
        node.at("disk/conf").write_text("old\n")
        result = node.run(files=[node.file("disk/small", "x\n"), node.file("disk/conf", "x" * 200_000)])
        assert "disk/conf: no space left on the device that holds it" in result["msg"]
        assert result["restored"] is True
        assert [path.name for path in node.at("disk").iterdir()] == ["conf"]
        assert node.at("disk/conf").read_text() == "old\n"
    finally:
        subprocess.run(["umount", node.path("disk")], check=True)
