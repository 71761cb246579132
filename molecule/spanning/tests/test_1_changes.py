# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine over two nodes changes as one: asked for, together, and back on both when one of them fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab.testing import Console

from .conftest import UNIT, Part

DROP_IN = f"/etc/systemd/system/{UNIT}.d"
# On this node alone the declared change does not start; what served before does.
REFUSES = f"""mkdir -p {DROP_IN}
printf '[Service]\\nExecStartPre=/bin/sh -c "! grep -q -e \\"max-num-seqs 5\\" /etc/systemd/system/{UNIT}"\\n' > {DROP_IN}/refuses.conf
systemctl daemon-reload"""


def drained(secrets: Path) -> list[str]:
    return sorted(path.name for path in (secrets / "drained").glob("*"))


@pytest.fixture
def second_refuses(console: Callable[[str], Console]) -> Iterator[None]:
    console("engine2").shell(REFUSES)
    yield
    console("engine2").shell(f"rm -r {DROP_IN}; systemctl daemon-reload")


def test_it_is_changed_only_when_that_was_asked_for(
    play: Callable[..., tuple[int, str]], parts: Callable[[], list[Part]]
) -> None:
    before = parts()
    code, said = play("upgrade", spanning_sequences=6)
    assert code == 2, said
    assert "Nothing that serves was changed." in said
    assert "Engine engine1 has no other that serves in its place." in said
    assert "run again with -e upgrade_downtime_ok=true" in said
    assert parts() == before


def test_an_upgrade_changes_all_its_nodes_together(
    play: Callable[..., tuple[int, str]], parts: Callable[[], list[Part]], answers: Callable[[], str], secrets: Path
) -> None:
    before = parts()
    code, said = play("upgrade", spanning_sequences=6, upgrade_downtime_ok=True)
    assert code == 0, said
    after = parts()
    assert [one.sequences for one in after] == ["6", "6"]
    assert not {one.run for one in before} & {one.run for one in after}, "both were started anew"
    assert answers() == "200"
    assert drained(secrets) == []


@pytest.mark.usefixtures("second_refuses")
def test_a_failure_on_the_second_node_puts_both_back(
    play: Callable[..., tuple[int, str]], parts: Callable[[], list[Part]], answers: Callable[[], str], secrets: Path
) -> None:
    code, said = play("upgrade", spanning_sequences=5, upgrade_downtime_ok=True)
    assert code == 2, said
    assert "The former state is back on all its nodes and generates again." in said
    assert "Engine engine1 takes requests as before." in said
    assert "engine2: " in said
    assert [one.sequences for one in parts()] == ["6", "6"]
    assert answers() == "200"
    assert drained(secrets) == []


def test_what_was_declared_before_comes_back(
    play: Callable[..., tuple[int, str]], parts: Callable[[], list[Part]], answers: Callable[[], str]
) -> None:
    """An installation of one's own goes back by its declaration (hardened.vllm.rollback says so)."""
    code, said = play("rollback", rollback_release="0.31.0")
    assert code == 2 and "goes back by the declaration" in said
    code, said = play("upgrade", upgrade_downtime_ok=True)
    assert code == 0, said
    assert [one.sequences for one in parts()] == ["8", "8"]
    assert answers() == "200"
