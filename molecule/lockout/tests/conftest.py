# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts, left by every test as they were converged."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from shared import firewalled
from shared.firewalled import LAB, Node


@pytest.fixture(scope="session")
def converged() -> dict[str, str]:
    """The firewalls as the tests find them."""
    return {name: Node(LAB, name).firewall() for name in ("engine1", "engine2")}


@pytest.fixture(scope="session")
def engine1() -> Node:
    return Node(LAB, "engine1")


@pytest.fixture(scope="session")
def engine2() -> Node:
    return Node(LAB, "engine2")


@pytest.fixture(autouse=True)
def put_back(converged: dict[str, str]) -> Iterator[None]:
    """Whatever a test does, the next one finds both hosts converged."""
    yield
    for name, firewall in converged.items():
        firewalled.put_back(Node(LAB, name), firewall)
