# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Placements vLLM would refuse or silently do otherwise, with the whole sentence of each rule."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import validate
from support.topologies import declaration

from .conftest import TODAY

RAY = "data parallel, ray"
NIXL = "disaggregated, nixl"

# The topology to start from, what to set (path in vllm_cluster or in a host, value), the sentence.
MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    (
        "tensor parallel",
        {"engine/load_balancing": "external"},
        "error [topology-option] vllm_cluster.engine.load_balancing: found 'external' with topology tensor_parallel; "
        "expected it with topology data_parallel only. Leave load_balancing out, or choose topology data_parallel.",
    ),
    (
        "replicas",
        {"engine": {"accelerators_per_rank": 2}},
        "error [topology-option] vllm_cluster.engine.accelerators_per_rank: found 2 with topology replicas; expected it "
        "with topology data_parallel only. Leave accelerators_per_rank out, or choose topology data_parallel.",
    ),
    (
        "pipeline parallel",
        {"engine/engines_per_node": 2},
        "error [topology-option] vllm_cluster.engine.engines_per_node: found 2 with topology pipeline_parallel; expected it "
        "with topology replicas only. Leave engines_per_node out, or choose topology replicas.",
    ),
    (
        "replicas",
        {"engine": {"nodes_per_engine": 2}},
        "error [topology-option] vllm_cluster.engine.nodes_per_engine: found 2 with topology replicas; expected 1, because "
        "each node serves alone. Leave nodes_per_engine out, or choose a topology that spans nodes.",
    ),
    (
        "data parallel, hybrid",
        {"engine/ranks_per_node": 1},
        "error [balancing-unfit] vllm_cluster.engine.load_balancing: found hybrid with one rank on each node; expected at "
        "least 2 for ranks_per_node. Choose external; vLLM would switch to it by itself.",
    ),
    (
        RAY,
        {"engine/load_balancing": "external"},
        "error [balancing-unfit] vllm_cluster.engine.load_balancing: found external with executor ray; expected internal. "
        "Ray starts all ranks behind one API: choose internal, or executor mp.",
    ),
    (
        "replicas",
        {"engine": {"executor": "ray"}, "install": {"requirements": ["ray==2.60.0"]}},
        "error [executor-unused] vllm_cluster.engine.executor: found ray with topology replicas; expected mp. An engine on "
        "one node needs no Ray cluster: leave executor out.",
    ),
    (
        RAY,
        {"events": {"subscribers": ["10.20.3.0/28"]}},
        "error [executor-unfit] vllm_cluster.events: found events with executor ray; expected events with executor mp only. "
        "Ray chooses the node of each rank, so that nobody can say beforehand whose port it opens.",
    ),
    (
        RAY,
        {"install": {"requirements": ["ray==2.51.9"]}},
        "error [ray-unsafe] vllm_cluster.install.requirements: found ray==2.51.9; expected ray==2.52.0 or newer. Older "
        "releases know no token authentication and run code for whoever reaches them.",
    ),
    (
        RAY,
        {"install": {"requirements": ["ray[default]==2.52.0rc1"]}},
        "error [ray-unsafe] vllm_cluster.install.requirements: found ray==2.52.0rc1; expected ray==2.52.0 or newer. Older "
        "releases know no token authentication and run code for whoever reaches them.",
    ),
    (
        RAY,
        {"install": {}},
        "error [ray-unsafe] vllm_cluster.install.requirements: found no ray; expected ray==2.52.0 or newer. Older releases "
        "know no token authentication and run code for whoever reaches them.",
    ),
    (
        RAY,
        {"engine/ray": {"service_ports": "6380-6382"}},
        "error [out-of-range] vllm_cluster.engine.ray.service_ports: found '6380-6382'; expected a range of at least 5 ports "
        "between 1 and 65535, low to high. Mend the range.",
    ),
    (
        RAY,
        {"engine/ray": {"worker_ports": "6300-6499"}},
        "error [port-collision] vllm_cluster.engine.ray.worker_ports: found 6300-6499, which overlaps "
        "engine.ray.service_ports 6380-6384; expected ranges that do not overlap. Move one of them.",
    ),
    (
        "replicas",
        {"hosts/engine11/node/stage": "decode"},
        "error [stage-unused] hosts.engine11.vllm_node.stage: found decode; expected a stage with vllm_cluster.transfer "
        "only. Declare transfer, or remove the stage.",
    ),
    (
        NIXL,
        {"hosts/engine11/node/stage": None},
        "error [stage-missing] hosts.engine11.vllm_node.stage: found nothing; expected prefill or decode. With transfer "
        "every engine host does one of them: say which.",
    ),
    (
        NIXL,
        {"hosts/engine11/node/stage": "decode", "hosts/engine13/node/stage": "decode"},
        "error [stage-empty] vllm_cluster.transfer: found no host for prefill; expected at least one engine host with stage "
        "prefill. Requests need both stages: set vllm_node.stage.",
    ),
    (
        "tensor parallel twice",
        {"engine/nodes_per_engine": 3},
        "error [nodes-uneven] vllm_cluster.engine.nodes_per_engine: found 4 engine hosts for engines of 3 nodes; expected a "
        "multiple of 3. Add or remove hosts, or change nodes_per_engine.",
    ),
    (
        "disaggregated, tensor parallel, mooncake",
        {"engine": {"nodes_per_engine": 3}},
        "error [nodes-uneven] vllm_cluster.engine.nodes_per_engine: found 2 hosts for prefill for engines of 3 nodes; "
        "expected a multiple of 3. Add or remove hosts, or change nodes_per_engine.",
    ),
]


def put(cluster: dict[str, Any], hosts: dict[str, Any], path: str, value: Any) -> None:
    first, *names = path.split("/")
    place: Any = hosts if first == "hosts" else cluster
    names = names if first == "hosts" else [first, *names]
    for name in names[:-1]:
        place = place.setdefault(name, {})
    if value is None:
        place.pop(names[-1])
    else:
        place[names[-1]] = value


@pytest.mark.parametrize(("name", "changes", "sentence"), MISTAKES)
def test_a_mistake_is_said_in_full(name: str, changes: dict[str, Any], sentence: str) -> None:
    cluster, hosts = declaration(name)
    assert sentence not in [problem.sentence() for problem in validate(cluster, hosts, TODAY)]
    for path, value in changes.items():
        put(cluster, hosts, path, value)
    assert sentence in [problem.sentence() for problem in validate(cluster, hosts, TODAY)]


def test_a_connector_has_to_be_in_the_release() -> None:
    cluster, hosts = declaration("disaggregated, mooncake")
    cluster["release"] = "0.10.2"
    found = [
        problem for problem in validate(cluster, hosts, TODAY) if problem.path == "vllm_cluster.transfer.connector"
    ]
    assert [(problem.rule, problem.found) for problem in found] == [("not-in-release", "MooncakeConnector")]
    assert found[0].expected.startswith("a connector vLLM 0.10.2 has: ")
