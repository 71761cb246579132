# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of this scenario: the load, and how the two engines stand."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from lab import runs
from lab.paths import CHECKOUT
from lab.testing import Console
from lifecycle import support

EDGE = "10.223.3.20"
PLAY_SECONDS = 900


@pytest.fixture
def standing(console: Callable[[str], Console]) -> Callable[[], list[support.Standing]]:
    """A function that returns how both engines stand."""
    return lambda: [support.stand(console(name)) for name in ("engine1", "engine2")]


@pytest.fixture
def load(console: Callable[[str], Console], secrets: Path) -> support.Load:
    """Requests and streams for as long as a block runs; the dict it gives holds the ledger afterwards."""
    return lambda: support.load(console("observer"), EDGE, (secrets / "tenants/acme/k1.key").read_text())


@pytest.fixture
def start() -> Callable[..., subprocess.Popen[str]]:
    """A function that starts one of the collection's playbooks with extra variables."""
    return lambda name, **variables: runs.start_play("lifecycle", CHECKOUT / "playbooks" / f"{name}.yml", **variables)


@pytest.fixture
def play(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., tuple[int, str]]:
    """A function that runs one of the collection's playbooks; returns its exit code and output."""

    def run(name: str, **variables: object) -> tuple[int, str]:
        process = start(name, **variables)
        output = process.communicate(timeout=PLAY_SECONDS)[0]
        return process.returncode, output

    return run


@pytest.fixture(scope="session")
def secrets(lab_inventory: Path) -> Path:
    """The directory of keys and of what is drained, on the controller."""
    return lab_inventory.parents[1] / "secrets"
