# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module files brings about, shows and hides."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

KEY = "sk-first-0123456789abcdef"
NEXT_KEY = "sk-second-fedcba9876543210"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_writes_directories_and_files_and_a_second_run_changes_nothing(node: Any) -> None:
    args = {
        "directories": [node.directory("etc", mode="0750")],
        "files": [node.file("etc/a.conf", "ä one\n", mode="0640"), node.file("etc/b.conf", "two\n")],
        "apply": [node.sh(f"echo applied >> {node.path('log')}")],
    }
    first = node.run(**args)
    assert first["changed"] is True
    assert first["changed_paths"] == [node.path(name) for name in ("etc", "etc/a.conf", "etc/b.conf")]
    assert node.at("etc/a.conf").read_text(encoding="utf-8") == "ä one\n"
    assert (mode_of(node.at("etc")), mode_of(node.at("etc/a.conf"))) == (0o750, 0o640)
    second = node.run(**args)
    assert (second["changed"], second["changed_paths"], second["diff"]) == (False, [], [])
    assert node.at("log").read_text() == "applied\n"
    assert node.names() == ["etc", "etc/a.conf", "etc/b.conf", "log"]


def test_check_mode_shows_and_writes_nothing(node: Any) -> None:
    result = node.run(
        check_mode=True,
        directories=[node.directory("etc")],
        files=[node.file("etc/a.conf", "one\n", owner="nobody-made-yet"), node.file("away/b", "x\n")],
        check=[node.sh(f"touch {node.path('ran')}")],
        apply=[node.sh(f"touch {node.path('ran')}")],
    )
    assert result["changed"] is True
    assert [part["before_header"] for part in result["diff"]] == [
        node.path("etc") + " (attributes)",
        node.path("etc/a.conf"),
        node.path("etc/a.conf") + " (attributes)",
        node.path("away/b"),
        node.path("away/b") + " (attributes)",
    ]
    assert "owner: not on this host yet" in result["diff"][2]["after"]
    assert node.names() == []
    assert not node.state.exists()


def test_apply_may_be_bound_to_paths(node: Any) -> None:
    args = {
        "directories": [node.directory("d")],
        "apply": [
            node.sh(f"echo a >> {node.path('log')}", paths=[node.path("a")]),
            node.sh(f"echo d >> {node.path('log')}", paths=[node.path("d")]),
        ],
    }
    node.run(files=[node.file("a", "1\n"), node.file("d/x", "1\n")], **args)
    node.run(files=[node.file("a", "1\n"), node.file("d/x", "2\n")], **args)
    assert node.at("log").read_text() == "a\nd\nd\n"


def test_a_symlink_at_the_target_is_replaced_and_its_target_left_alone(node: Any) -> None:
    victim = node.at("victim")
    victim.write_text("precious\n")
    node.at("conf").symlink_to(victim)
    result = node.run(files=[node.file("conf", "new\n")])
    assert result["changed"] is True
    assert f"symbolic link to {victim}" in result["diff"][1]["before"]
    assert victim.read_text() == "precious\n"
    assert not node.at("conf").is_symlink()


def test_only_the_mode_changes_without_rewriting(node: Any) -> None:
    node.run(files=[node.file("conf", "same\n", mode="0644")])
    inode = node.at("conf").stat().st_ino
    result = node.run(files=[node.file("conf", "same\n", mode="0600")])
    assert result["changed_paths"] == [node.path("conf")]
    assert [part["before_header"] for part in result["diff"]] == [node.path("conf") + " (attributes)"]
    assert (node.at("conf").stat().st_ino, mode_of(node.at("conf"))) == (inode, 0o600)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_owner_and_group_change_and_are_put_back(node: Any) -> None:
    node.run(files=[node.file("conf", "same\n")])
    wanted = node.file("conf", "same\n", owner="daemon", group="daemon")
    failed = node.run(files=[wanted], check=[node.sh("exit 1")])
    assert failed["restored"] is True
    assert node.at("conf").stat().st_uid == 0
    assert node.run(files=[wanted])["changed"] is True
    assert node.at("conf").stat().st_uid != 0
    assert node.run(files=[wanted])["changed"] is False


def test_secrets_are_written_and_never_shown(node: Any) -> None:
    def deliver(key: str, top: str) -> dict:
        return node.run(
            files=[
                node.file("conf", top + "token @secret:up/k1@;\n", mode="0600"),
                node.file("pem", "@secret:up/k1@\n", mode="0640", secret=True),
            ],
            secrets={"up/k1": key},
        )

    first = deliver(KEY, "")
    assert node.at("conf").read_text() == f"token {KEY};\n"
    assert first["diff"][0]["after"] == "token <secret up/k1>;\n"
    assert first["diff"][2]["after"] == "<secret content>\n"
    rotated = deliver(NEXT_KEY, "")
    assert (rotated["diff"][0]["before"], rotated["diff"][0]["after"]) == (
        "token <secret up/k1>;\n",
        "token <secret up/k1 changed>;\n",
    )
    assert rotated["diff"][1]["after"] == "<secret content changed>\n"
    same_key = deliver(NEXT_KEY, "top\n")
    assert same_key["diff"][0]["after"] == "top\ntoken <secret up/k1>;\n"
    for result in (first, rotated, same_key):
        assert KEY not in json.dumps(result) and NEXT_KEY not in json.dumps(result)


def test_an_old_secret_on_a_line_the_template_does_not_know_is_hidden(node: Any) -> None:
    node.at("conf").write_text(f"old-style {KEY}\nplain\n")
    result = node.run(files=[node.file("conf", "plain\ntoken @secret:up@\n", mode="0600")], secrets={"up": NEXT_KEY})
    assert result["diff"][0]["before"] == "<1 line not shown: this file holds secrets>\nplain\n"
    assert KEY not in json.dumps(result)


def test_checker_output_shows_neither_the_new_nor_the_old_secret(node: Any) -> None:
    files = [node.file("conf", "token @secret:up@\n", mode="0600")]
    node.at("conf").write_text(f"token {KEY}\n")
    result = node.run(files=files, secrets={"up": NEXT_KEY}, check=[node.sh(f"cat {node.path('conf')}; exit 1")])
    assert "token <secret up>" in result["msg"] and NEXT_KEY not in result["msg"]
    result = node.run(files=files, secrets={"up": NEXT_KEY}, apply=[node.sh(f"cat {node.path('conf')}; exit 1")])
    assert "token <secret up (old value 0)>" in result["msg"] and KEY not in json.dumps(result)


def test_absent_removes_files_links_and_empty_directories_in_order(node: Any) -> None:
    node.at("d").mkdir()
    node.at("d/x").write_text("secret-ish\n")
    node.at("d/l").symlink_to("x")
    args = {"absent": [node.path(name) for name in ("d/x", "d/l", "d", "never")]}
    first = node.run(**args)
    assert first["changed_paths"] == args["absent"][:3]
    assert "secret-ish" not in json.dumps(first)
    assert node.names() == []
    assert node.run(**args)["changed"] is False


def test_an_existing_file_that_is_not_utf_8(node: Any) -> None:
    node.at("conf").write_bytes(b"caf\xe9\n")
    result = node.run(files=[node.file("conf", "café\n")])
    assert result["diff"][0]["before"] == "caf\\xe9\n"
    assert node.at("conf").read_text(encoding="utf-8") == "café\n"
