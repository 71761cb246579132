# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is planned where engines serve on unix sockets."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.hardened.vllm.plugins.plugin_utils import catalogue
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan, validate
from ansible_collections.hardened.vllm.plugins.plugin_utils.planning.endpoint import GATEWAY_USER
from support.firewall import render

from .conftest import CLUSTER, TODAY, engine

SOCKET = "/run/hardened-vllm-engine/api.sock"
ROLE = Path(__file__).resolve().parents[4] / "roles/gateway/vars/main.yml"


def declared(topology: str = "replicas", **options: Any) -> dict[str, Any]:
    return {**copy.deepcopy(CLUSTER), "topology": topology, "engine": {"listener": "unix", **options}}


def both_roles(*numbers: int) -> dict[str, Any]:
    """Hosts that are engine and gateway."""
    found = {}
    for number in numbers:
        host = engine(number)
        host["node"]["addresses"]["edge"] = [f"192.0.2.{number}"]
        found[f"node{number}"] = {**host, "roles": ["engine", "gateway"]}
    return found


def test_one_host_with_both_roles_opens_no_port_for_the_api() -> None:
    made = plan(declared(), both_roles(11), TODAY)
    host = made["hosts"]["node11"]
    process = host["engines"][0]
    assert process["argv"][process["argv"].index("--uds") + 1] == SOCKET
    assert {"--host", "--port"} & set(process["argv"]) == set()
    assert process["api"] == {"socket": SOCKET}
    assert process["socket"] == {"directory": "/run/hardened-vllm-engine", "group": "hardened-vllm-gateway"}
    assert host["gateway"]["upstreams"] == [
        {"name": "node11", "socket": SOCKET, "engine": "node11", "host": "node11", "concurrent": 1280},
    ]
    assert [listener["name"] for listener in host["listeners"]] == ["https", "ssh"]
    assert {row["listener"] for row in made["matrix"]} == {"https", "ssh"}
    assert "gateways" not in process["sets"]
    assert "8000" not in host["egress"]["own_ports"]
    assert "net.ipv4.ip_local_reserved_ports" not in host["sysctl"]
    assert "8000" not in render({"cluster": made, "host": host})


def test_on_a_port_nothing_is_said_of_a_socket() -> None:
    made = plan({**declared(), "engine": {}}, both_roles(11), TODAY)
    process = made["hosts"]["node11"]["engines"][0]
    assert process["socket"] is None and "--uds" not in process["argv"]
    assert process["api"] == {"address": "10.20.1.11", "port": 8000}


def test_each_gateway_has_the_engines_of_its_own_host() -> None:
    made = plan(declared(engines_per_node=2), both_roles(11, 12), TODAY)
    for name in ("node11", "node12"):
        upstreams = made["hosts"][name]["gateway"]["upstreams"]
        assert [(item["name"], item["host"], item["socket"]) for item in upstreams] == [
            (name, name, SOCKET),
            (f"{name}-1", name, "/run/hardened-vllm-engine-1/api.sock"),
        ]


def test_nodes_without_an_api_need_no_gateway() -> None:
    hosts = {**both_roles(11), "node12": engine(12)}
    made = plan(declared("tensor_parallel"), hosts, TODAY)
    head, other = (made["hosts"][name]["engines"][0] for name in ("node11", "node12"))
    assert head["api"] == {"socket": SOCKET}
    assert other["api"] is other["socket"] is None and "--uds" not in other["argv"]


@pytest.mark.parametrize("balancing", ["hybrid", "external"])
def test_every_api_of_data_parallel_ranks_needs_one(balancing: str) -> None:
    cluster = declared("data_parallel", ranks_per_node=2, load_balancing=balancing)
    rules = [problem.rule for problem in validate(cluster, {**both_roles(11), "node12": engine(12)}, TODAY)]
    assert "socket-apart" in rules
    made = plan(cluster, both_roles(11, 12), TODAY)
    for host in made["hosts"].values():
        assert {item["socket"] for item in host["gateway"]["upstreams"]} == {
            process["api"]["socket"] for process in host["engines"]
        }


def test_every_known_release_has_the_option() -> None:
    assert all("uds" in catalogue.known_flags(release) for release in catalogue.releases())


def test_the_group_of_the_sockets_is_the_one_of_the_gateway() -> None:
    assert yaml.safe_load(ROLE.read_text(encoding="utf-8"))["__gateway_user"] == GATEWAY_USER
