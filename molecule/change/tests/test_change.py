# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two replicas of a real vLLM are changed while requests and streams keep coming: none is lost, whatever comes of the change.

Both releases start the same vLLM; what differs is what the collection does to it. Many bad moments, faster: the scenario lifecycle.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from change.support import Figure, nothing_lost, seconds_of
from lab.testing import Console, wait_for
from lifecycle.support import UNIT

ENGINES = {"engine1": "10.234.1.11", "engine2": "10.234.1.12"}
START_SECONDS = 600


def argument(console: Console, name: str) -> str:
    found = re.search(rf"--{name} (\S+)", console.run("systemctl", "show", "--property=ExecStart", UNIT))
    assert found
    return found[1]


def serve(console: Callable[[str], Console]) -> None:
    """Wait until both engines answer."""
    for name, address in ENGINES.items():
        ask = f"curl -s -o /dev/null -w '%{{http_code}}' --max-time 20 http://{address}:8000/health || true"
        wait_for(lambda name=name, ask=ask: console(name).shell(ask) == "200", START_SECONDS, f"{name} does not serve")


def test_the_first_run_is_booked(directory: Path, figures: list[Figure]) -> None:
    took = seconds_of((directory / "first").read_text())
    figures.append(Figure("first run (`site`) on new hosts", took, 2))


def test_an_engine_that_dies_loses_streams(load: Callable, console: Callable[[str], Console]) -> None:
    """Else the ledger would prove nothing."""
    serve(console)
    with load() as ledger:
        time.sleep(5)
        console("engine1").shell(f"systemctl kill --signal=KILL {UNIT}; sleep 1; systemctl start {UNIT}")
    assert ledger["failed"], "else the ledger proves nothing"
    serve(console)


def test_nothing_to_change(play: Callable, standing: Callable, figures: list[Figure]) -> None:
    before = standing()
    code, said, seconds, counted = play("upgrade")
    assert code == 0, said
    assert standing() == before
    figures.append(Figure("`upgrade` with nothing to change", seconds, 0, counted))


def test_an_upgrade_loses_nothing(
    load: Callable, play: Callable, standing: Callable, console: Callable[[str], Console], figures: list[Figure]
) -> None:
    """Another release and another argument."""
    assert [one.release for one in standing()] == ["0.31.0", "0.31.0"]
    with load() as ledger:
        code, said, seconds, counted = play("upgrade", change_release="0.32.0", change_sequences=12)
    assert code == 0, said
    nothing_lost(ledger)
    assert [one.release for one in standing()] == ["0.32.0", "0.32.0"]
    assert [argument(console(name), "max-num-seqs") for name in ("engine1", "engine2")] == ["12", "12"]
    figures.append(Figure("`upgrade`: a release and an argument", seconds, 2, counted, ledger))


def test_other_weights_are_put_back_at_the_first_engine(
    load: Callable, play: Callable, standing: Callable, directory: Path, figures: list[Figure]
) -> None:
    """They load, answer and count tokens; only what they make of a fixed text tells."""
    before = standing()
    with load() as ledger:
        code, said, seconds, counted = play(
            "upgrade", change_release="0.32.0", change_sequences=12, change_model="/srv/other"
        )
    assert code == 2, said
    assert "generates, but not as before: it judges a fixed text differently" in " ".join(said.split()), said
    assert "Stopped at engine engine1." in said and "Not touched: engine2." in said
    nothing_lost(ledger)
    after = standing()
    assert after[0].files == before[0].files
    assert after[1] == before[1], "the second engine was not touched"
    assert not list((directory / "secrets/drained").glob("*")), "the first one has requests again"
    figures.append(Figure("`upgrade` to other weights: refused and put back", seconds, 1, counted, ledger))


def test_a_rollback_loses_nothing(
    load: Callable, play: Callable, standing: Callable, console: Callable[[str], Console], figures: list[Figure]
) -> None:
    with load() as ledger:
        code, said, seconds, counted = play("rollback", change_release="0.32.0", rollback_release="0.31.0")
    assert code == 0, said
    nothing_lost(ledger)
    assert [one.release for one in standing()] == ["0.31.0", "0.31.0"]
    assert [argument(console(name), "max-num-seqs") for name in ("engine1", "engine2")] == ["8", "8"]
    figures.append(Figure("`rollback`", seconds, 2, counted, ledger))
