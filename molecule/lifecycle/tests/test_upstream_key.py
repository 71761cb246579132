# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A new key between gateways and engines, while requests and streams keep coming."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from lab.testing import Console
from lifecycle.support import ENGINES, found, nothing_lost, status

SECONDS = 300


def test_it_changes_with_nothing_lost(
    load: Callable, play: Callable, standing: Callable, secrets: Path, console: Callable[[str], Console]
) -> None:
    file = secrets / "upstream.key"
    old, release = file.read_text().strip(), standing()[0].release
    with load() as ledger:
        code, said = play("rotate_upstream", lifecycle_release=release)
    assert code == 0, said
    nothing_lost(ledger)
    new = file.read_text().strip()
    assert new != old and len(new) == 64
    assert not list(secrets.glob("upstream.key.*"))
    assert old not in said and new not in said
    for name, address in ENGINES.items():
        assert status(console(name), address, new) == "200"
        assert status(console(name), address, old) == "401", "the old one is dropped"
        assert found(console(name), old) == []
        assert found(console(name), new) == ["/etc/hardened-vllm/engine/secrets.yaml"]
    assert found(console("gateway"), old) == []
    assert found(console("gateway"), new) == ["/etc/hardened-vllm/gateway/authorization.conf"]
    after = standing()
    code, said = play("site", lifecycle_release=release)
    assert code == 0 and said.count("changed=0 ") == 3, said
    assert standing() == after


def test_a_rotation_that_dies_is_finished_by_the_next(
    load: Callable,
    start: Callable,
    play: Callable,
    standing: Callable,
    secrets: Path,
    console: Callable[[str], Console],
) -> None:
    """It dies when the engines take both keys and the gateways still show the old one."""
    old, release = (secrets / "upstream.key").read_text().strip(), standing()[0].release
    with load() as ledger:
        process = start("rotate_upstream", lifecycle_release=release)
        successor, deadline = secrets / "upstream.key.next", time.monotonic() + SECONDS
        while (
            not successor.exists()
            or status(console("engine1"), ENGINES["engine1"], successor.read_text().strip()) != "200"
        ):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.5)
        process.kill()
        process.communicate()
        new = successor.read_text().strip()
        code, said = play("rotate_upstream", lifecycle_release=release)
        assert code == 0, said
    nothing_lost(ledger)
    assert (secrets / "upstream.key").read_text().strip() == new, "the key that was begun with"
    assert [status(console(name), address, old) for name, address in ENGINES.items()] == ["401", "401"]
