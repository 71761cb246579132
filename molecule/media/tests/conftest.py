# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of this scenario: consoles of the nodes, requests through the proxy, what reached the world, what left the gateway."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lab.testing import Console

PROXY = ("10.224.1.20", "3128")
# Behind every other table: what is counted here leaves. A request to lo would leave as well.
WATCH = """
table inet watch {
    chain leaves {
        type filter hook postrouting priority 300;
        ip daddr { 169.254.0.0/16, 192.168.77.1, 100.100.100.200 } counter comment "nowhere"
        ip6 daddr { fd00:ec2::254, fd12::1, fe80::1, 64:ff9b::/96, 2002::/16 } counter comment "nowhere"
        tcp dport { 80, 443 } ip daddr { 10.224.1.0/24, 127.0.0.0/8, 198.51.100.20 } counter comment "nowhere"
        tcp dport { 80, 443 } ip6 daddr { fd77:681::/64, ::1 } counter comment "nowhere"
    }
}
"""
Through = Callable[..., list[str]]


@pytest.fixture(scope="session")
def engine(console: Callable[[str], Console]) -> Console:
    return console("engine1")


@pytest.fixture(scope="session")
def gateway(console: Callable[[str], Console]) -> Console:
    return console("gateway")


@pytest.fixture(scope="session")
def stranger(console: Callable[[str], Console]) -> Console:
    return console("stranger")


@pytest.fixture(scope="session")
def world(console: Callable[[str], Console]) -> Console:
    return console("world")


@pytest.fixture(scope="session")
def through(engine: Console) -> Through:
    """Send requests to the proxy as the engine's account; the answers, each as one text."""

    def send(*requests: str, then: str | None = None) -> list[str]:
        given = json.dumps([[request, then] for request in requests])
        argv = ["runuser", "-u", "vllm", "--", "python3", "/opt/through.py", *PROXY]
        answers: list[str] = json.loads(engine.run(*argv, given=given))
        return answers

    return send


@pytest.fixture
def seen(world: Console) -> Callable[[], list[dict[str, Any]]]:
    """What has reached the world since the test began."""
    world.run("truncate", "--size=0", "/root/record.jsonl")
    return lambda: [json.loads(line) for line in world.run("cat", "/root/record.jsonl").splitlines()]


@pytest.fixture
def left(gateway: Console) -> Iterator[Callable[[], int]]:
    """Packets that have left the gateway for where nobody may call since the test began."""
    gateway.run("nft", "-f", "-", given=WATCH)
    yield lambda: sum(
        map(int, re.findall(r"counter packets (\d+)", gateway.run("nft", "list", "table", "inet", "watch")))
    )
    gateway.run("nft", "delete", "table", "inet", "watch")
