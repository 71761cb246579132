# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of this scenario: the engine's node, playbooks, and a registry that is away."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab import runs
from lab.paths import CHECKOUT
from lab.testing import Console

SCENARIO = Path(__file__).parents[1]
UNIT = "hardened-vllm-engine.service"
PLAY_SECONDS = 1500


@pytest.fixture(scope="session")
def engine(console: Callable[[str], Console]) -> Console:
    return console("engine1")


@pytest.fixture
def play() -> Callable[..., tuple[int, str]]:
    """A function that runs one of the collection's playbooks; returns its exit code and output, each gap in it as one space."""

    def run(name: str, **variables: object) -> tuple[int, str]:
        done = runs.play("quadlet", CHECKOUT / "playbooks" / f"{name}.yml", timeout=PLAY_SECONDS, **variables)
        return done.code, re.sub(r"\s+", " ", done.text)

    return run


@pytest.fixture
def upgrade(play: Callable[..., tuple[int, str]]) -> Callable[..., tuple[int, str]]:
    """A function that brings the named image into service; its arguments are variables of the scenario without their prefix."""

    def run(variant: str, **variables: object) -> tuple[int, str]:
        given = {f"quadlet_scenario_{name}": value for name, value in {"variant": variant, **variables}.items()}
        return play("upgrade", upgrade_downtime_ok=True, **given)

    return run


@pytest.fixture
def silent_registry(console: Callable[[str], Console]) -> Iterator[None]:
    console("world").run("systemctl", "stop", "world")
    yield
    console("world").run("systemctl", "start", "world")


def serving(engine: Console) -> tuple[str, str]:
    """Return which image serves, and the run of the unit."""
    engine.run("systemctl", "is-active", UNIT)
    script = f"podman exec hardened-vllm-engine cat /etc/image 2>/dev/null || echo works; systemctl show -P InvocationID {UNIT}"
    name, run = engine.shell(script).split()
    return name, run
