# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may use and administer the cluster, mistaken in each way there is a rule for."""

from __future__ import annotations

from typing import Any

import pytest
from support.mistakes import Mistake, both, check_sentence, numbered, put

ACME, OTHER = ({"name": name, "keys": [{"id": "k1"}]} for name in ("acme", "other"))

store = put("cluster/gateway/routes", ["responses", "responses-store"])

MISTAKES: list[tuple[str, str, Mistake]] = [
    ("wrong-type", "vllm_cluster.tenants", put("cluster/tenants", "acme")),
    (
        "tenant-name-shared",
        "vllm_cluster.tenants[1].name",
        put("cluster/tenants", [{"name": "a", "keys": [{"id": "k1"}]}, {"name": "a", "keys": [{"id": "k2"}]}]),
    ),
    (
        "key-shared",
        "vllm_cluster.tenants[1].keys[0]",
        put(
            "cluster/tenants",
            [
                {"name": "a", "keys": [{"id": "k1", "sha256": "0" * 64}]},
                {"name": "b", "keys": [{"id": "k1", "value": None, "sha256": "0" * 64}]},
            ],
        ),
    ),
    (
        "key-empty",
        "vllm_cluster.tenants[0].keys[0].sha256",
        put("cluster/tenants/0/keys/0/sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ),
    (
        "key-source",
        "vllm_cluster.tenants[0].keys[0]",
        put("cluster/tenants/0/keys/0", {"id": "k1", "file": "/k", "sha256": "0" * 64}),
    ),
    ("key-id-shared", "vllm_cluster.tenants[0].keys", put("cluster/tenants/0/keys", [{"id": "k1"}, {"id": "k1"}])),
    ("bad-value", "vllm_cluster.tenants[0].keys[0].value", put("cluster/tenants/0/keys/0/value", "short")),
    ("bad-value", "vllm_cluster.tenants[0].keys[0].value", put("cluster/tenants/0/keys/0/value", "")),
    ("too-few", "vllm_cluster.tenants[0].keys", put("cluster/tenants/0/keys", [])),
    ("admin-everyone", "vllm_cluster.admin.ssh_from[0]", put("cluster/admin/ssh_from", ["0.0.0.0/0"])),
    ("gateway-on-fabric", "vllm_cluster.gateway.network", put("cluster/gateway/network", "fabric")),
    ("route-group-unknown", "vllm_cluster.gateway.routes[0]", put("cluster/gateway/routes", ["chats"])),
    ("route-not-offered", "vllm_cluster.tenants[0].routes[0]", put("cluster/tenants/0/routes", ["audio"])),
    ("answers-shared", "vllm_cluster.gateway.routes", both(store, put("cluster/tenants", [ACME, OTHER]))),
    (
        "answers-scattered",
        "vllm_cluster.gateway.balancing",
        both(store, put("cluster/topology", "replicas")),
    ),
    (
        "answers-scattered",
        "vllm_cluster.gateway.balancing",
        both(store, put("cluster/engine", {"ranks_per_node": 2, "load_balancing": "hybrid"})),
    ),
    ("monitor-missing", "vllm_cluster.gateway.monitor_port", put("cluster/gateway/monitor_port", 9443)),
    (
        "key-expired",
        "vllm_cluster.tenants[0].keys[0].expires",
        put("cluster/tenants/0/keys/0/expires", "2026-11-23"),
    ),
    (
        "key-expires",
        "vllm_cluster.tenants[0].keys[0].expires",
        put("cluster/tenants/0/keys/0/expires", "2026-11-24"),
    ),
]


@pytest.mark.parametrize(("rule", "path", "mistake", "number"), numbered(MISTAKES), ids=lambda value: str(value)[:60])
def test_each_mistake_is_said_in_full(
    rule: str, path: str, mistake: Mistake, number: int, cluster: Any, hosts: Any, today: Any
) -> None:
    check_sentence(rule, path, mistake, number, cluster, hosts, today)
