# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Engines that are dead or in quarantine: the others change without them, they get no key, and they come back in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab.testing import Console, wait_for
from lifecycle.support import ENGINES, UNIT, found, nothing_lost, status

QUARANTINE = "NET-01 quarantine"
EXPIRED = {"rule": "arg-trust-remote-code", "reason": "It was accepted long ago.", "expires": "2026-01-31"}


def other(release: str) -> str:
    return "0.30.0" if release == "0.31.0" else "0.31.0"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*"))


def table(console: Console) -> str:
    return console.shell("nft list table inet hardened_vllm")


def release_of(console: Console) -> str:
    text = console.shell(f"grep -o 'engine/[0-9.]*/bin' /etc/systemd/system/{UNIT} | head -n 1")
    return text.split("/")[1]


@pytest.fixture
def quarantined(play: Callable, standing: Callable) -> Iterator[str]:
    """Engine1 in quarantine; afterwards it is back as the runbook says, whatever happened. Its value is the release that serves."""
    release = standing()[0].release
    code, said = play("quarantine", lifecycle_release=release, quarantine_node="engine1")
    assert code == 0, said
    yield release
    comes_back(play, standing()[1].release)


def comes_back(play: Callable, release: str) -> None:
    for name, given in (
        ("quarantine", {"quarantine_node": "engine1", "quarantine_release": True}),
        ("upgrade", {"upgrade_downtime_ok": True}),
        ("drain", {"drain_node": "engine1", "drain_state": "active"}),
    ):
        code, said = play(name, lifecycle_release=release, **given)
        assert code == 0, said


def test_a_quarantined_engine_gets_neither_key_nor_release(
    quarantined: str, play: Callable, standing: Callable, console: Callable[[str], Console], secrets: Path
) -> None:
    before, old = standing(), (secrets / "upstream.key").read_text().strip()
    code, said = play("rotate_upstream", lifecycle_release=quarantined)
    assert code == 2 and "Engine engine2 has no other that serves in its place." in said, "it asks first"
    code, said = play("rotate_upstream", lifecycle_release=quarantined, upgrade_downtime_ok=True)
    assert code == 0, said
    new = (secrets / "upstream.key").read_text().strip()
    assert new != old and not list(secrets.glob("upstream.key.*"))
    assert "Engine engine1 was left out because of engine1" in said
    code, said = play("upgrade", lifecycle_release=other(quarantined), upgrade_downtime_ok=True)
    assert code == 0, said
    code, said = play("site", lifecycle_release=other(quarantined))
    assert code == 0 and "engine1: in quarantine. Its engine is left as it is" in said, said
    code, said = play("prune", lifecycle_release=other(quarantined), prune_keep=0)
    assert code == 0, said
    engine1, engine2 = (console(name) for name in ENGINES)
    assert found(engine1, new) == [], "whoever broke in must not get the new key"
    assert found(engine2, new) == ["/etc/hardened-vllm/engine/secrets.yaml"], "else the search sees nothing"
    assert status(engine2, ENGINES["engine2"], old) == "401"
    after = standing()
    assert after[0] == before[0], "it is evidence"
    assert quarantined in engine1.shell("ls /opt/hardened-vllm/engine").split()
    assert after[1].release == other(quarantined)
    assert QUARANTINE in table(engine1)
    code, said = play("drain", lifecycle_release=other(quarantined), drain_node="engine1", drain_state="active")
    assert code == 2 and "Nothing was changed. In quarantine: engine1. Release it first" in said


def test_it_came_back_with_the_new_key_and_release(
    standing: Callable, load: Callable, secrets: Path, console: Callable[[str], Console]
) -> None:
    first, second = standing()
    assert first.release == second.release
    key = (secrets / "upstream.key").read_text().strip()
    assert [status(console(name), address, key) for name, address in ENGINES.items()] == ["200", "200"]
    assert names(secrets / "drained") == names(secrets / "quarantined") == []
    with load() as ledger:
        time.sleep(3)
    nothing_lost(ledger)


def test_a_node_closes_with_its_gateway_dead_and_a_waiver_over(
    play: Callable, standing: Callable, console: Callable[[str], Console], secrets: Path, reboot: Callable[[str], None]
) -> None:
    before = standing()
    release, given = before[0].release, {"lifecycle_waivers": [EXPIRED]}
    code, said = play("preflight", lifecycle_release=release, **given)
    assert code != 0 and "waiver-expired" in said, "else the waiver proves nothing"
    console("gateway").start("systemctl", "poweroff", "--force", "--force")
    try:
        code, said = play("quarantine", lifecycle_release=release, quarantine_node="engine1", **given)
        assert code != 0 and "Gateway gateway was not told: it could not be reached" in said, said
        assert "engine1 is off the network but for administrators" in said
        assert QUARANTINE in table(console("engine1"))
        assert names(secrets / "drained") == names(secrets / "quarantined") == ["engine1"]
        assert list((secrets / "evidence/engine1").glob("*.tar.gz")), "evidence came first"
        assert standing() == before
    finally:
        reboot("gateway")
    code, said = play("site", lifecycle_release=release)
    assert code == 0, said
    told = console("gateway").shell("grep 'server 10.223.1.11:8000 ' /etc/hardened-vllm/gateway/upstreams.conf")
    assert told.strip().endswith(" down;"), "site has told the gateway"
    comes_back(play, release)
    assert standing()[1] == before[1]


def test_a_node_closes_when_no_plan_can_be_made(
    play: Callable, standing: Callable, console: Callable[[str], Console]
) -> None:
    release = standing()[0].release
    code, said = play("quarantine", lifecycle_release="no release", quarantine_node="engine1")
    assert code != 0 and "engine1 is closed to all but this controller's address, because there is no plan" in said, (
        said
    )
    assert "Gateway gateway was not told" in said
    rules = table(console("engine1"))
    assert QUARANTINE in rules and "NET-04 live connection" in rules
    code, said = play("quarantine", lifecycle_release=release, quarantine_node="engine1")
    assert code == 0, said
    assert "ssh" in table(console("engine1")), "the administrators of the declaration come in again"
    comes_back(play, release)


def test_what_is_no_node_is_refused(play: Callable, standing: Callable) -> None:
    before = standing()
    for node in ("", "gateway", "engine1,nobody"):
        code, said = play("quarantine", quarantine_node=node)
        assert code == 2 and f"Nothing was changed. Found quarantine_node={node};" in " ".join(said.split()), said
    code, said = play("upgrade", upgrade_without="nobody")
    assert code == 2 and "Nothing was changed. Found upgrade_without=nobody;" in " ".join(said.split()), said
    assert standing() == before


def test_the_others_change_without_a_dead_engine(
    play: Callable, standing: Callable, console: Callable[[str], Console], secrets: Path, reboot: Callable[[str], None]
) -> None:
    before = standing()[0].release
    after, old = other(before), (secrets / "upstream.key").read_text().strip()
    engine1, engine2 = (console(name) for name in ENGINES)
    engine1.start("systemctl", "poweroff", "--force", "--force")
    try:
        code, said = play("upgrade", lifecycle_release=after)
        assert code != 0 and "1 host(s) cannot be reached: engine1" in said
        assert "-e upgrade_without=NAME" in said
        for name in ("upgrade", "rotate_upstream"):
            code, said = play(name, lifecycle_release=after, upgrade_without="engine1", upgrade_downtime_ok=True)
            assert code == 0, said
            assert "Engine engine1 was left out because of engine1" in said
        assert release_of(engine2) == after
        assert names(secrets / "drained") == ["engine1"]
    finally:
        reboot("engine1")
    new = (secrets / "upstream.key").read_text().strip()
    wait_for(lambda: status(engine1, ENGINES["engine1"], old) == "200", 120, "it does not start")
    assert new != old and release_of(engine1) == before, "it came back as it was"
    assert status(engine1, ENGINES["engine1"], new) == "401"
    code, said = play("upgrade", lifecycle_release=after)
    assert code == 0, said
    assert [one.release for one in standing()] == [after, after]
    assert [status(console(name), address, new) for name, address in ENGINES.items()] == ["200", "200"]
    assert [status(console(name), address, old) for name, address in ENGINES.items()] == ["401", "401"]
    assert names(secrets / "drained") == [], "it has requests again"


def test_requests_do_not_go_to_an_engine_that_came_back_as_it_was(
    play: Callable, load: Callable, standing: Callable, console: Callable[[str], Console], secrets: Path
) -> None:
    """Left out alive, it keeps the old key: requests would be refused there, and clients would see it."""
    release = standing()[0].release
    code, said = play("rotate_upstream", lifecycle_release=release, upgrade_without="engine1", upgrade_downtime_ok=True)
    assert code == 0, said
    key = (secrets / "upstream.key").read_text().strip()
    assert status(console("engine1"), ENGINES["engine1"], key) == "401"
    with load() as ledger:
        time.sleep(3)
    nothing_lost(ledger)
    with load() as ledger:
        code, said = play("upgrade", lifecycle_release=release)
    assert code == 0, said
    nothing_lost(ledger)
    assert names(secrets / "drained") == []
