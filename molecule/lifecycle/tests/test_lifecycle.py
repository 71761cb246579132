# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upgrades and rollbacks of two replicas while requests and streams keep coming: none is lost, whatever the new release does.

The releases are stand-ins (prepare.yml): 0.30.0 and 0.31.0 work, 0.32.0 crashes at start, 0.29.0 answers garbage.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab.testing import Console
from lifecycle.support import UNIT, nothing_lost

PLAY_SECONDS = 900
CUT = """nft -f - <<'END'
table inet cut {
    chain output {
        type filter hook output priority filter; policy accept;
        ip daddr != { 10.223.0.0/16, 127.0.0.0/8 } reject
        ip6 daddr != { fd77:250::/28, ::1, fe80::/10, ff00::/8 } reject
    }
}
END"""


def drained(secrets: Path) -> list[str]:
    return sorted(path.name for path in (secrets / "drained").glob("*"))


def test_an_engine_that_dies_loses_streams(load: Callable, console: Callable[[str], Console]) -> None:
    with load() as ledger:
        time.sleep(3)  # streams have begun by then
        console("engine1").shell(f"systemctl kill --signal=KILL {UNIT}; sleep 1; systemctl start {UNIT}")
    assert any(line.startswith("streams") for line in ledger["failed"]), "else the ledger proves nothing"


def test_a_restart_without_draining_ends_streams_and_refuses_what_comes(
    load: Callable, console: Callable[[str], Console]
) -> None:
    """What was begun is answered whole (--shutdown-timeout). vLLM goes on to take requests meanwhile, and fails them."""
    with load() as ledger:
        time.sleep(3)
        console("engine1").shell(f"systemctl restart {UNIT}")
    assert ledger["failed"], "that is what draining is for"
    assert all("HTTP/1.1 5" in line for line in ledger["failed"]), "no stream was cut"


def test_an_upgrade_loses_nothing(load: Callable, play: Callable, standing: Callable, secrets: Path) -> None:
    before = standing()
    assert [one.release for one in before] == ["0.30.0", "0.30.0"]
    with load() as ledger:
        code, said = play("upgrade", lifecycle_release="0.31.0")
    assert code == 0, said
    nothing_lost(ledger)
    assert list(ledger["releases"]) == ["0.30.0", "0.31.0"]
    after = standing()
    assert [one.release for one in after] == ["0.31.0", "0.31.0"]
    assert drained(secrets) == []
    code, said = play("upgrade", lifecycle_release="0.31.0")
    assert code == 0, said
    assert said.count("changed=0 ") == 3, said
    assert standing() == after


@pytest.mark.parametrize(
    ("release", "why"),
    [
        ("0.32.0", "RuntimeError: release 0.32.0 crashes at start"),
        ("0.29.0", "it judges a fixed text differently, by 9.00 nats a token"),
    ],
    ids=["crashes", "garbage"],
)
def test_a_bad_release_is_put_back_at_the_first_engine(
    load: Callable, play: Callable, standing: Callable, secrets: Path, release: str, why: str
) -> None:
    before = standing()
    with load() as ledger:
        code, said = play("upgrade", lifecycle_release=release)
    assert code == 2, said
    assert why in said
    assert "Stopped at engine engine1." in said and "Not touched: engine2." in said
    nothing_lost(ledger)
    assert list(ledger["releases"]) == ["0.31.0"], "no client ever met the bad one"
    after = standing()
    assert after[0].files == before[0].files
    assert after[1] == before[1], "the second engine was not touched"
    assert drained(secrets) == [], "the first one has requests again"


def test_garbage_serves_where_nothing_is_compared(play: Callable, standing: Callable) -> None:
    """What the comparison closes: readiness by tokens alone lets the release through."""
    code, said = play("upgrade", lifecycle_release="0.29.0", upgrade_compare=False)
    assert code == 0, said
    assert [one.release for one in standing()] == ["0.29.0", "0.29.0"]
    code, said = play("rollback", lifecycle_release="0.29.0", rollback_release="0.31.0", upgrade_compare=False)
    assert code == 0, said
    assert [one.release for one in standing()] == ["0.31.0", "0.31.0"]


def test_a_run_that_dies_is_finished_by_the_next(
    load: Callable, start: Callable, play: Callable, standing: Callable, secrets: Path
) -> None:
    with load() as ledger:
        process = start("upgrade", lifecycle_release="0.30.0")
        deadline = time.monotonic() + PLAY_SECONDS
        while not drained(secrets):
            assert process.poll() is None and time.monotonic() < deadline, "it drained nothing"
            time.sleep(0.2)
        time.sleep(2)
        process.kill()
        process.communicate()
        assert drained(secrets) == ["engine1"]
        code, said = play("upgrade", lifecycle_release="0.30.0")
        assert code == 0, said
    nothing_lost(ledger)
    assert [one.release for one in standing()] == ["0.30.0", "0.30.0"]
    assert drained(secrets) == []
    assert play("upgrade", lifecycle_release="0.31.0")[0] == 0


@pytest.fixture
def cut_off(console: Callable[[str], Console]) -> Iterator[None]:
    """Engines that reach nobody outside their networks, and have no wheels."""
    engines = [console(name) for name in ("engine1", "engine2")]
    for engine in engines:
        engine.shell(f"mv /opt/wheels /opt/wheels.away; {CUT}")
    yield
    for engine in engines:
        engine.shell("nft delete table inet cut; mv /opt/wheels.away /opt/wheels")


@pytest.mark.usefixtures("cut_off")
def test_a_rollback_needs_no_network_loses_nothing_and_says_what_remains(
    load: Callable, play: Callable, standing: Callable
) -> None:
    code, said = play("upgrade", lifecycle_release="0.28.0")
    assert code == 2 and "installing vllm 0.28.0 failed" in said, "else a rollback without network proves nothing"
    with load() as ledger:
        code, said = play("rollback", lifecycle_release="0.31.0", rollback_release="0.30.0")
    assert code == 0, said
    nothing_lost(ledger)
    assert list(ledger["releases"]) == ["0.31.0", "0.30.0"]
    assert "0.30.0 serves. Set release: 0.30.0 in vllm_cluster" in said
    assert [one.release for one in standing()] == ["0.30.0", "0.30.0"]


def test_a_rollback_downloads_nothing(play: Callable, standing: Callable) -> None:
    before = standing()
    code, said = play("rollback", rollback_release="0.28.0")
    assert code == 2
    assert "0.28.0 does not exist, and installing was not allowed. Nothing was changed." in said
    assert "Installed in /opt/hardened-vllm/engine: 0.29.0, 0.30.0, 0.31.0, 0.32.0" in said
    assert standing() == before
    code, said = play("rollback")
    assert code == 2 and "Nothing was changed. Found rollback_release=;" in said


def test_the_last_engine_is_changed_only_when_that_was_asked_for(
    play: Callable, standing: Callable, secrets: Path
) -> None:
    code, said = play("drain", drain_node="engine2", drain_state="drained")
    assert code == 0, said
    before = standing()
    try:
        code, said = play("upgrade", lifecycle_release="0.31.0")
        assert code == 2
        assert "Nothing that serves was changed." in said
        assert "Engine engine1 has no other that serves in its place." in said and "its last start took " in said
        assert standing() == before
        code, said = play("upgrade", lifecycle_release="0.31.0", upgrade_downtime_ok=True)
        assert code == 0, said
        assert [one.release for one in standing()] == ["0.31.0", "0.31.0"]
        assert drained(secrets) == ["engine2"], "an operator's drain is not taken back by a change"
    finally:
        assert play("drain", drain_node="engine2", drain_state="active", lifecycle_release="0.31.0")[0] == 0
