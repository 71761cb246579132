# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad moments: what serves goes on to serve, the message says what to mend, and a second run completes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lab.testing import Console
from lifecycle.support import UNIT, nothing_lost

SECONDS = 300


def other(release: str) -> str:
    return "0.30.0" if release == "0.31.0" else "0.31.0"


def completes(play: Callable, standing: Callable, release: str) -> None:
    code, said = play("upgrade", lifecycle_release=release)
    assert code == 0, said
    assert [one.release for one in standing()] == [release, release]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lifecycle_bytes": 10**15}, "too little free space for vllm 0.28.0: it needs 1000000.0 GB"),
        ({"lifecycle_links": None, "lifecycle_index": "http://127.0.0.1:9/simple"}, "installing vllm 0.28.0 failed"),
        ({"lifecycle_links": "/opt/links.html"}, "DO NOT MATCH THE HASHES"),
    ],
    ids=["full", "unreachable", "checksum"],
)
def test_what_cannot_be_installed_changes_nothing_and_completes_when_that_is_mended(
    load: Callable,
    play: Callable,
    standing: Callable,
    secrets: Path,
    console: Callable[[str], Console],
    given: dict[str, object],
    message: str,
) -> None:
    before = standing()
    with load() as ledger:
        code, said = play("upgrade", lifecycle_release="0.28.0", **given)
        assert code == 2, said
        assert message in " ".join(said.split()), said
        assert standing() == before
        assert not list((secrets / "drained").glob("*"))
        completes(play, standing, "0.28.0")
    nothing_lost(ledger)
    assert list(ledger["releases"]) == [before[0].release, "0.28.0"]
    # The next one has it to install too.
    completes(play, standing, before[0].release)
    for name in ("engine1", "engine2"):
        console(name).shell("rm -r /opt/hardened-vllm/engine/0.28.0")


def test_a_node_that_dies_in_the_middle(
    load: Callable,
    start: Callable,
    play: Callable,
    standing: Callable,
    secrets: Path,
    console: Callable[[str], Console],
    reboot: Callable[[str], None],
) -> None:
    before = standing()
    release = other(before[0].release)
    with load() as ledger:
        process = start("upgrade", lifecycle_release=release)
        deadline = time.monotonic() + SECONDS
        # It has answered what it had taken, and is stopped for the change.
        while console("engine1").start("systemctl", "is-active", UNIT).stdout.strip() == "active":
            assert process.poll() is None and time.monotonic() < deadline, "it stopped nothing"
            time.sleep(0.1)
        console("engine1").start("systemctl", "poweroff", "--force", "--force")
        said = process.communicate(timeout=SECONDS)[0]
    assert process.returncode != 0
    assert "Stopped at engine engine1." in said, said
    assert "engine1: the node was lost on the way" in said
    assert "Engine engine1 gets no requests until a later run finds it serving." in said
    assert "Not touched: engine2." in said
    nothing_lost(ledger)
    assert sorted(path.name for path in (secrets / "drained").glob("*")) == ["engine1"]
    code, said = play("upgrade", lifecycle_release=release)
    assert code != 0 and "1 host(s) cannot be reached: engine1" in said
    reboot("engine1")
    completes(play, standing, release)
    assert not list((secrets / "drained").glob("*"))


def test_site_restarts_nothing_that_serves(play: Callable, standing: Callable) -> None:
    """Without the refusal every replica would restart at once, which test_a_restart_without_draining shows to lose requests."""
    before = standing()
    release = other(before[0].release)
    code, said = play("site", lifecycle_release=release)
    assert code == 2, said
    assert "Nothing was changed. Engine engine1 runs, and what is declared asks it to restart" in said
    assert "hardened.vllm.upgrade" in said and "-e site_restart_ok=true" in said
    assert standing() == before
    code, said = play("site", lifecycle_release=release, site_restart_ok=True)
    assert code == 0, said
    assert [one.release for one in standing()] == [release, release]
    code, said = play("site", lifecycle_release=release)
    assert code == 0 and said.count("changed=0 ") == 3, "nothing differs, nothing is refused"
