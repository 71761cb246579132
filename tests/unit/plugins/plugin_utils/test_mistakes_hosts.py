# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts as they are declared and as probes find them, mistaken in each way there is a rule for."""

from __future__ import annotations

from typing import Any

import pytest
from support.mistakes import SOUND, Mistake, addresses, both, check_sentence, numbered, probed, put, sized

LISTENER = "vllm_cluster.engine.listener"

EARLY = {"chain": "first", "type": "nat", "hook": "prerouting", "priority": -150, "policy": "accept"}

NIXL = {"connector": "nixl", "router_port": 9000}

IN_TIME = {**EARLY, "chain": "usual", "priority": -100}

CARDS = {"accelerators": ["/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl"]}


def no_edge(cluster: Any, hosts: Any) -> None:
    del cluster["networks"]["management"]
    cluster["admin"]["ssh_from"] = ["10.20.1.0/24"]
    hosts["engine1"]["node"]["addresses"]["edge"] = hosts["engine1"]["node"]["addresses"].pop("management")
    del cluster["networks"]["edge"]
    cluster["gateway"]["network"] = "fabric"


IMAGE = {"method": "image", "image": f"registry.example.org/vllm/vllm-openai@sha256:{'0' * 64}"}
MISTAKES: list[tuple[str, str, Mistake]] = [
    (
        "address-outside-network",
        "hosts.engine1.vllm_node.addresses.fabric[0]",
        addresses("engine1", "fabric", ["10.99.1.1"]),
    ),
    ("address-shared", "hosts.engine2.vllm_node.addresses.fabric", addresses("engine2", "fabric", ["10.20.1.11"])),
    ("address-wildcard", "hosts.engine1.vllm_node.addresses.fabric[0]", addresses("engine1", "fabric", ["0.0.0.0"])),
    ("address-wildcard", "hosts.engine1.vllm_node.addresses.fabric[0]", addresses("engine1", "fabric", ["127.0.0.1"])),
    ("address-wildcard", "hosts.engine1.vllm_node.addresses.fabric[0]", addresses("engine1", "fabric", ["::"])),
    ("bad-value", "hosts.engine1.vllm_node.addresses.fabric[0]", addresses("engine1", "fabric", ["engine1"])),
    (
        "address-missing",
        "hosts.gateway1.vllm_node.addresses.edge",
        put("hosts/gateway1/node/addresses", {"fabric": ["10.20.1.200"], "management": ["10.20.2.200"]}),
    ),
    ("missing-key", "hosts.engine1.vllm_node", put("hosts/engine1/node", None)),
    ("bad-value", "hosts.'node 7'", lambda cluster, hosts: hosts.update({"node 7": hosts.pop("engine2")})),
    ("wrong-type", "hosts.engine2", put("hosts/engine2", ["engine"])),
    ("wrong-type", "hosts.7", lambda cluster, hosts: hosts.update({7: hosts.pop("engine2")})),
    ("host-missing", "groups.vllm_gateways", lambda cluster, hosts: hosts.pop("gateway1")),
    ("network-undeclared", "hosts.engine1.vllm_node.addresses.edge[0]", no_edge),
    (
        "address-family",
        "hosts.engine1.vllm_node.addresses.fabric",
        addresses("engine1", "fabric", ["fd20:1::11"]),
    ),
    ("socket-apart", "hosts.engine1", put("cluster/engine", {"listener": "unix"})),
    ("socket-apart", "hosts.gateway1", put("cluster/engine", {"listener": "unix"})),
    ("socket-tls", LISTENER, put("cluster/engine", {"listener": "unix", "tls": {}})),
    (
        "socket-image",
        LISTENER,
        both(put("cluster/install", IMAGE), put("cluster/engine", {"listener": "unix"})),
    ),
    (
        "socket-behind-router",
        LISTENER,
        both(put("cluster/engine", {"listener": "unix"}), put("cluster/transfer", NIXL)),
    ),
    ("bad-value", LISTENER, put("cluster/engine", {"listener": "socket"})),
    ("argument-owned", "vllm_cluster.engine.arguments.uds", put("cluster/engine", {"arguments": {"uds": "/run/x"}})),
    ("address-not-on-host", "hosts.engine1.vllm_node.addresses.fabric", probed({"addresses": {"fd20:1::11": "eth1"}})),
    (
        "addresses-apart",
        "hosts.engine1.vllm_node.addresses.fabric",
        probed({"addresses": {"10.20.1.11": "eth1", "fd20:1::11": "eth2"}}),
    ),
    (
        "interface-mismatch",
        "hosts.engine1.vllm_node.interfaces.fabric",
        probed({"addresses": {"10.20.1.11": "eth7", "fd20:1::11": "eth7"}}),
    ),
    (
        "name-is-loopback",
        "hosts.engine1",
        probed({**SOUND, "name_resolution": {"addresses": ["127.0.1.1"], "loopback": True}}),
    ),
    ("rdma-unfiltered", "hosts.engine1", probed({**SOUND, "rdma_devices": [{"name": "mlx5_0"}]})),
    (
        "rdma-unfiltered",
        "hosts.engine1",
        both(
            put("cluster/networks/fabric/rdma_isolated_by", "partition 0x8001 of the subnet manager"),
            probed({**SOUND, "rdma_devices": [{"name": "mlx5_1"}, {"name": "mlx5_0"}]}),
        ),
    ),
    (
        "firewall-before",
        "hosts.engine1",
        probed({**SOUND, "nftables": [{"family": "ip", "name": "mesh", "own": False, "hooks": [EARLY, IN_TIME]}]}),
    ),
    ("firewall-bypassed", "hosts.engine1", probed({**SOUND, "firewalls": {"cilium": ["process cilium-agent"]}})),
    ("firewall-cuts", "hosts.engine1", probed({**SOUND, "firewalls": {"kube-proxy": ["process kubelet"]}})),
    (
        "firewall-beside",
        "hosts.engine1",
        probed({**SOUND, "firewalls": {"ufw": ["/etc/ufw/ufw.conf says ENABLED=yes"]}}),
    ),
    ("firewall-counts", "hosts.gateway1", probed({**SOUND, "counts_connections": False}, "gateway1")),
    (
        "port-taken",
        "hosts.engine1.listeners.api",
        probed({**SOUND, "listeners": [{"protocol": "tcp", "port": 8000, "processes": [{"pid": 7, "name": "java"}]}]}),
    ),
    *[
        (
            rule,
            "hosts.engine1",
            both(put("cluster/install", IMAGE), probed({**SOUND, "podman": podman, "cgroup": "hybrid"})),
        )
        for rule, podman in (
            ("quadlet-missing", {"version": None, "quadlet": False}),
            ("quadlet-missing", {"version": "4.3.1", "quadlet": False}),
            ("cgroup-split", {"version": "5.4.2", "quadlet": True}),
        )
    ],
    ("name-unresolved", "vllm_cluster.install.index_url", probed({**SOUND, "names": {"packages.example.org": []}})),
    (
        "accelerators-few",
        "hosts.engine1",
        both(put("cluster/engine", {"devices": ["char-nvidia*"], "ranks_per_node": 4}), probed({**SOUND, **CARDS})),
    ),
    (
        "heads-uneven",
        "hosts.engine1.engine.argv.--tensor-parallel-size",
        both(put("cluster/topology", "tensor_parallel"), sized(attention_heads=15)),
    ),
    (
        "layers-few",
        "hosts.engine1.engine.argv.--pipeline-parallel-size",
        both(put("cluster/topology", "pipeline_parallel"), sized(layers=1)),
    ),
    (
        "balancing-dense",
        "hosts.engine1.engine.argv.--data-parallel-rank",
        both(put("cluster/engine", {"load_balancing": "external"}), sized(experts=None)),
    ),
]


@pytest.mark.parametrize(("rule", "path", "mistake", "number"), numbered(MISTAKES), ids=lambda value: str(value)[:60])
def test_each_mistake_is_said_in_full(
    rule: str, path: str, mistake: Mistake, number: int, cluster: Any, hosts: Any, today: Any
) -> None:
    check_sentence(rule, path, mistake, number, cluster, hosts, today)
