# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the scenario's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from shared import firewalled
from shared.firewalled import LAB, Node


@pytest.fixture(scope="session")
def engine1() -> Node:
    return Node(LAB, "engine1")


@pytest.fixture(scope="session")
def engine2() -> Node:
    return Node(LAB, "engine2")


@pytest.fixture(scope="session")
def gateway() -> Node:
    return Node(LAB, "gateway")


@pytest.fixture(scope="session")
def observer() -> Node:
    return Node(LAB, "observer")


@pytest.fixture(scope="session")
def stranger() -> Node:
    return Node(LAB, "stranger")


@pytest.fixture(scope="session")
def as_converged(engine1: Node) -> str:
    """The first engine's firewall as the tests find it."""
    return engine1.firewall()


@pytest.fixture
def put_back(engine1: Node, as_converged: str) -> Iterator[None]:
    """Whatever the test does to the first engine, the next one finds it converged."""
    yield
    firewalled.put_back(engine1, as_converged)
