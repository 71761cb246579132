# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keys that place engines on hosts and move KV caches between them."""

from __future__ import annotations

from .kinds import Choice, Field, Integer, ListOf, Record, Text
from .words import ADDRESS_BLOCK, PATH, PORT, PORTS

TOPOLOGY = Choice(("replicas", "tensor_parallel", "pipeline_parallel", "data_parallel"))
STAGES = ("prefill", "decode")
CONNECTORS = {"nixl": "NixlConnector", "mooncake": "MooncakeConnector"}

# Of the record ``engine``.
PLACEMENT: dict[str, Field] = {
    "nodes_per_engine": Field(
        Integer(1, 1024), "Nodes one engine spans; all of its stage when left out, and always 1 with replicas."
    ),
    "engines_per_node": Field(Integer(1, 16), "replicas: engines on each node, each with a port of its own.", 1),
    "ranks_per_node": Field(
        Integer(1, 64), "data_parallel: ranks on each node; else accelerators an engine uses on each node.", 1
    ),
    "accelerators_per_rank": Field(Integer(1, 64), "data_parallel: accelerators a rank's layers are split over.", 1),
    "load_balancing": Field(
        Choice(("internal", "hybrid", "external")),
        "data_parallel: internal has one API for all ranks, hybrid one for each node, external one for each rank; "
        "vLLM takes external for mixture-of-experts models only.",
        "internal",
    ),
    "executor": Field(
        Choice(("mp", "ray")),
        "What starts the workers of an engine on several nodes: vLLM itself, or a Ray cluster.",
        "mp",
    ),
}

RAY = Record(
    "ray",
    {
        "port": Field(PORT, "Port of Ray's global control store.", 6379),
        "service_ports": Field(
            PORTS, "Five ports of Ray's node services, in a row, which Ray would draw at random.", "6380-6384"
        ),
        "agent_port": Field(PORT, "HTTP port of Ray's agent on each node.", 52365),
        "client_port": Field(PORT, "Port of the Ray client server; reserved and open to nobody.", 10001),
        "worker_ports": Field(PORTS, "Ports of Ray's workers.", "20000-20999"),
    },
)

TRANSFER = Record(
    "transfer",
    {
        "connector": Field(Choice(tuple(CONNECTORS)), "What moves KV caches from prefill to decode.", required=True),
        "side_channel_port": Field(PORT, "nixl: first port of the metadata channel; one more for each rank.", 5600),
        "bootstrap_port": Field(PORT, "mooncake: port of the bootstrap server of prefill engines.", 8998),
        "router_port": Field(
            PORT, "Loopback port of each gateway where your router of prefill and decode listens.", required=True
        ),
    },
)

CACHE_SERVER = Record(
    "a server",
    {
        "to": Field(ListOf(ADDRESS_BLOCK, 1), "Addresses of the server.", required=True),
        "port": Field(PORT, "Port.", required=True),
    },
)

CACHE = Record(
    "cache",
    {
        "config": Field(PATH, "LMCache's configuration file on the engine nodes, owned by root.", required=True),
        "servers": Field(ListOf(CACHE_SERVER), "Servers that file names; engines reach no other.", []),
    },
)

EVENTS = Record(
    "events",
    {
        "port": Field(PORT, "First port of the publisher; one more for each rank.", 5557),
        "topic": Field(Text("a topic", r"[A-Za-z0-9._@/-]{0,64}"), "Topic of the events.", ""),
        "subscribers": Field(ListOf(ADDRESS_BLOCK, 1), "Who may subscribe, on the fabric.", required=True),
    },
)

# Of ``vllm_cluster``.
BETWEEN: dict[str, Field] = {
    "transfer": Field(TRANSFER, "Disaggregated prefill and decode; each engine host then names its stage."),
    "cache": Field(CACHE, "KV caches kept outside of the accelerator by LMCache."),
    "events": Field(EVENTS, "KV cache events, published without authentication to the subscribers only."),
}

# Of ``vllm_node``.
STAGE = Field(Choice(STAGES), "With transfer: the stage of the host's engine.")
