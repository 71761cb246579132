# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back: whoever comes first, the timer or the confirmation, decides; an interrupted way back goes on."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import commands
from ansible_collections.hardened.vllm.plugins.module_utils.firewall_revert import WayBack


class Place:
    """A state directory and some files of a host; nft is a script that notes what it was given."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / "state dir"
        self.state.mkdir()
        self.log = root / "nft.log"
        self.nft = root / "nft"
        self.nft.write_text(f"#!/bin/sh\ncat \"$2\" >> '{self.log}'\n")
        self.nft.chmod(0o755)
        self.way = WayBack(str(self.state), str(self.nft))
        self.kept, self.added, self.link = root / "kept file", root / "added", root / "link"
        self.kept.write_text("old\n")
        self.kept.chmod(0o640)
        self.link.symlink_to("old-target")
        self.way.prepare("old table\n", [str(self.kept), str(self.added), str(self.link)], {}, {"connection": None})
        self.kept.write_text("new\n")
        self.kept.chmod(0o600)
        self.added.write_text("new\n")
        self.link.unlink()
        self.link.symlink_to("new-target")

    def revert(self) -> int:
        """What the boot does; with the argument nothing asks systemd."""
        name = self.way.open_change()
        script = self.state / (name or "pending") / "revert.sh"
        return subprocess.run(["/bin/sh", str(script), "boot"], check=False, capture_output=True).returncode

    def old(self) -> bool:
        return (
            self.kept.read_text() == "old\n"
            and stat.S_IMODE(self.kept.stat().st_mode) == 0o640
            and not self.added.exists()
            and self.link.readlink() == Path("old-target")
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that would go to systemd."""
    seen: list[list[str]] = []

    def run(argv: list[str], **_named: Any) -> str:
        seen.append(argv)
        return ""

    monkeypatch.setattr(commands, "run", run)
    return seen


def test_the_script_puts_table_and_files_back(place: Place) -> None:
    assert place.revert() == 0
    assert place.old()
    assert place.log.read_text() == "old table\n"
    assert place.way.open_change() is None
    assert place.way.taken_back_at() is not None
    assert place.way.taken_back_at(forget=True) is not None
    assert place.way.taken_back_at() is None


def test_a_confirmed_change_stays(place: Place, asked: list[list[str]]) -> None:
    script = (place.state / "pending" / "revert.sh").read_text()
    assert place.way.confirm() is True
    assert asked[0] == ["systemctl", "stop", "hardened-vllm-firewall-revert.timer"]
    late = place.root / "late.sh"
    late.write_text(script)
    assert subprocess.run(["/bin/sh", str(late), "boot"], check=False).returncode == 0
    assert place.kept.read_text() == "new\n"
    assert not place.log.exists()


def test_a_change_that_was_taken_back_cannot_be_confirmed(place: Place, asked: list[list[str]]) -> None:
    assert place.revert() == 0
    assert place.way.confirm() is False
    assert asked == []


def test_an_interrupted_way_back_goes_on(place: Place) -> None:
    (place.state / "pending").rename(place.state / "reverting")
    assert place.way.open_change() == "reverting"
    assert place.revert() == 0
    assert place.old()


def test_a_way_back_that_fails_stays_open(place: Place) -> None:
    place.nft.write_text("#!/bin/sh\nexit 1\n")
    assert place.revert() == 1
    assert place.way.open_change() == "reverting"
    assert place.way.taken_back_at() is None
    assert place.kept.read_text() == "old\n", "what can be put back is put back"


def test_the_timer_belongs_to_systemd(place: Place, asked: list[list[str]]) -> None:
    place.way.arm(60)
    assert asked[-1][0] == "systemd-run"
    assert "--on-active=60" in asked[-1]
    assert asked[-1][-2:] == ["/bin/sh", f"{place.state}/pending/revert.sh"]


def test_what_is_kept_is_for_root_alone(place: Place) -> None:
    assert stat.S_IMODE((place.state / "pending").stat().st_mode) == 0o700
    assert stat.S_IMODE((place.state / "pending" / "kernel.nft").stat().st_mode) == 0o600


def test_another_failure_of_systemd_is_not_swallowed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(argv: list[str], **_named: Any) -> str:
        raise commands.CommandError(f"{argv[0]}: connection refused")

    monkeypatch.setattr(commands, "run", run)
    with pytest.raises(commands.CommandError, match="connection refused"):
        place.way.disarm()
