# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of this scenario: load, changes that are booked, and the section of the page of costs they become."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from change.support import HEADER, INTRODUCTION, Clock, Figure, executions
from lab import runs
from lab.paths import CHECKOUT
from lab.testing import Console
from lifecycle import support
from support import costs

EDGE = "10.234.3.20"
NAMES = {"10.234.2.11": "engine1", "10.234.2.12": "engine2", "10.234.2.20": "gateway"}
PLAY_SECONDS = 1800


@pytest.fixture(scope="session")
def directory(lab_inventory: Path) -> Path:
    """The lab's directory on the controller."""
    return lab_inventory.parents[1]


@pytest.fixture
def standing(console: Callable[[str], Console]) -> Callable[[], list[support.Standing]]:
    """A function that returns how both engines stand."""
    return lambda: [support.stand(console(name)) for name in ("engine1", "engine2")]


@pytest.fixture
def load(console: Callable[[str], Console], directory: Path) -> support.Load:
    """Requests and streams for as long as a block runs; the dict it gives holds the ledger afterwards."""
    key = (directory / "secrets/tenants/acme/k1.key").read_text()
    return lambda: support.load(console("observer"), EDGE, key, "/opt/real_ledger.py")


@pytest.fixture(scope="session")
def figures() -> Iterator[list[Figure]]:
    """What runs have cost; written to the page that COSTS names, when it does."""
    found: list[Figure] = []
    yield found
    introduction = INTRODUCTION.format(release="0.32.0", load=os.getloadavg()[2], processors=os.cpu_count())
    section = introduction + HEADER + "".join(one.row() for one in found)
    print(section)
    if page := os.environ.get("COSTS"):
        costs.keep(CHECKOUT / page, section)


@pytest.fixture
def play() -> Callable[..., tuple[int, str, float, dict[str, int]]]:
    """A function that runs a playbook; returns its exit code and output, its seconds, and remote executions by host."""

    def run(name: str, **variables: object) -> tuple[int, str, float, dict[str, int]]:
        with Clock() as clock:
            playbook = CHECKOUT / "playbooks" / f"{name}.yml"
            done = runs.play("change", playbook, "-vvv", timeout=PLAY_SECONDS, **variables)
        return done.code, done.text, clock.seconds, executions(done.text, NAMES)

    return run
