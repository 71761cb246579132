# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A sound declaration and its hosts, to be broken by the tests."""

from __future__ import annotations

import copy
import datetime
from typing import Any

import pytest

pytest.register_assert_rewrite("support.mistakes")

TODAY = datetime.date(2026, 11, 23)

CLUSTER: dict[str, Any] = {
    "name": "chat",
    "release": "0.32.0",
    "topology": "data_parallel",
    "model": {"path": "/srv/models/example", "name": "example"},
    "install": {"lock": "/srv/vllm.lock"},
    "networks": {
        "fabric": {"cidrs": ["10.20.1.0/24", "fd20:1::/64"]},
        "management": {"cidrs": ["10.20.2.0/24"]},
        "edge": {"cidrs": ["192.0.2.0/24"]},
    },
    "gateway": {"server_name": "llm.example.org", "tls": {"certificate": "/tls/server.crt", "key": "/tls/server.key"}},
    "tenants": [{"name": "acme", "keys": [{"id": "k1"}]}],
    "admin": {"ssh_from": ["10.20.2.0/24"]},
    "secrets_directory": "/srv/secrets",
}


def engine(number: int) -> dict[str, Any]:
    """An engine host."""
    addresses = {"fabric": [f"10.20.1.{number}", f"fd20:1::{number}"], "management": [f"10.20.2.{number}"]}
    return {"roles": ["engine"], "node": {"addresses": addresses, "interfaces": {"fabric": "eth1"}}}


@pytest.fixture
def cluster() -> dict[str, Any]:
    return copy.deepcopy(CLUSTER)


@pytest.fixture
def hosts() -> dict[str, Any]:
    gateway = {"fabric": ["10.20.1.200", "fd20:1::200"], "management": ["10.20.2.200"], "edge": ["192.0.2.200"]}
    return {
        "engine1": engine(11),
        "engine2": engine(12),
        "gateway1": {"roles": ["gateway"], "node": {"addresses": gateway}},
    }


@pytest.fixture
def today() -> datetime.date:
    return TODAY
