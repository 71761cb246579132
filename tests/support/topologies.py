# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A sound declaration of every topology the planner knows, for tests that have to hold for all of them."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

CLUSTER: dict[str, Any] = {
    "name": "chat",
    "release": "0.32.0",
    "topology": "data_parallel",
    "model": {"path": "/srv/models/example", "name": "example"},
    "install": {"lock": "/srv/vllm.lock"},
    "networks": {
        "fabric": {"cidrs": ["10.20.0.0/16", "fd20:1::/64"]},
        "management": {"cidrs": ["10.21.0.0/16"]},
        "edge": {"cidrs": ["192.0.2.0/24"]},
    },
    "gateway": {"server_name": "llm.example.org", "tls": {"certificate": "/tls/server.crt", "key": "/tls/server.key"}},
    "tenants": [{"name": "acme", "keys": [{"id": "k1"}]}],
    "admin": {"ssh_from": ["10.21.0.0/16"]},
    "secrets_directory": "/srv/secrets",
}
RAY = {"requirements": ["ray==2.52.0"], "find_links": "/opt/wheels"}
NIXL = {"connector": "nixl", "router_port": 9000}
MOONCAKE = {"connector": "mooncake", "router_port": 9000}

# What a topology changes in CLUSTER; "stages" names the stage of each engine host.
TOPOLOGIES: dict[str, dict[str, Any]] = {
    "replicas": {"topology": "replicas"},
    "several engines on a node": {"topology": "replicas", "engine": {"engines_per_node": 3, "ranks_per_node": 2}},
    "tensor parallel": {"topology": "tensor_parallel", "engine": {"ranks_per_node": 4}},
    "tensor parallel twice": {"topology": "tensor_parallel", "engine": {"nodes_per_engine": 2}},
    "pipeline parallel": {"topology": "pipeline_parallel", "engine": {"ranks_per_node": 8}},
    "data parallel, internal": {"topology": "data_parallel", "engine": {"ranks_per_node": 2}},
    "data parallel, split ranks": {
        "topology": "data_parallel",
        "engine": {"ranks_per_node": 2, "accelerators_per_rank": 4},
    },
    "data parallel, hybrid": {
        "topology": "data_parallel",
        "engine": {"ranks_per_node": 4, "load_balancing": "hybrid"},
    },
    "data parallel, external": {
        "topology": "data_parallel",
        "engine": {"ranks_per_node": 2, "load_balancing": "external"},
    },
    "tensor parallel, ray": {
        "topology": "tensor_parallel",
        "engine": {"ranks_per_node": 8, "executor": "ray"},
        "install": RAY,
    },
    "pipeline parallel, ray": {
        "topology": "pipeline_parallel",
        "engine": {"ranks_per_node": 8, "executor": "ray"},
        "install": RAY,
    },
    "data parallel, ray": {"topology": "data_parallel", "engine": {"executor": "ray"}, "install": RAY},
    "disaggregated, nixl": {"topology": "replicas", "transfer": NIXL, "stages": ("prefill", "decode")},
    "disaggregated, several engines on a node": {
        "topology": "replicas",
        "engine": {"engines_per_node": 2},
        "transfer": NIXL,
        "stages": ("prefill", "decode"),
    },
    "disaggregated, data parallel, nixl": {
        "topology": "data_parallel",
        "engine": {"ranks_per_node": 2},
        "transfer": NIXL,
        "stages": ("prefill", "decode"),
    },
    "disaggregated, mooncake": {"topology": "replicas", "transfer": MOONCAKE, "stages": ("prefill", "decode")},
    "disaggregated, tensor parallel, mooncake": {
        "topology": "tensor_parallel",
        "transfer": MOONCAKE,
        "stages": ("prefill", "decode"),
    },
    "cache": {
        "topology": "replicas",
        "cache": {"config": "/etc/lmcache/lmcache.yaml", "servers": [{"to": ["10.20.3.5/32"], "port": 65432}]},
    },
    "disaggregated with cache": {
        "topology": "replicas",
        "transfer": NIXL,
        "cache": {"config": "/etc/lmcache/lmcache.yaml"},
        "stages": ("prefill", "decode"),
    },
    "events": {
        "topology": "data_parallel",
        "engine": {"ranks_per_node": 2},
        "events": {"subscribers": ["10.20.3.0/28"]},
    },
    "events of several engines": {
        "topology": "replicas",
        "engine": {"engines_per_node": 2},
        "events": {"subscribers": ["10.20.3.0/28"]},
    },
}


def engine(number: int, stage: str | None = None) -> dict[str, Any]:
    """Return an engine host; ``number`` is its place in the networks, from 1 to 60,000."""
    high, low = divmod(number, 250)
    addresses = {
        "fabric": [f"10.20.{high}.{low + 1}", f"fd20:1::{number:x}"],
        "management": [f"10.21.{high}.{low + 1}"],
    }
    node: dict[str, Any] = {"addresses": addresses, "interfaces": {"fabric": "eth1"}}
    return {"roles": ["engine"], "node": node | ({} if stage is None else {"stage": stage})}


def gateway() -> dict[str, Any]:
    """Return a gateway host."""
    addresses = {"fabric": ["10.20.255.200", "fd20:1::ffff"], "management": ["10.21.255.200"], "edge": ["192.0.2.200"]}
    return {"roles": ["gateway"], "node": {"addresses": addresses}}


def declaration(name: str, numbers: Iterable[int] = (11, 12, 13, 14)) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return ``vllm_cluster`` and the hosts of topology ``name`` with engine hosts of these numbers."""
    changed = copy.deepcopy(TOPOLOGIES[name])
    stages = changed.pop("stages", (None,))
    hosts = {
        f"engine{number}": engine(number, stages[place % len(stages)]) for place, number in enumerate(sorted(numbers))
    }
    return {**copy.deepcopy(CLUSTER), **changed}, {**hosts, "gateway1": gateway()}


def topologies() -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Return every topology with four engine hosts: name to ``(vllm_cluster, hosts)``."""
    return {name: declaration(name) for name in TOPOLOGIES}
