# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""KV caches between engines: connectors, their pins and their ports (facts 4.6)."""

from __future__ import annotations

import json
from typing import Any

from .. import catalogue
from ..declaration.model import Declaration
from ..declaration.topology_schema import CONNECTORS
from .topology import Seat

ROLES = {"prefill": "kv_producer", "decode": "kv_consumer"}
OTHER_STAGE = {"prefill": "decode", "decode": "prefill"}
NIXL_HOST, NIXL_PORT = "VLLM_NIXL_SIDE_CHANNEL_HOST", "VLLM_NIXL_SIDE_CHANNEL_PORT"
MOONCAKE_PORT = "VLLM_MOONCAKE_BOOTSTRAP_PORT"
LMCACHE_FILE = "LMCACHE_CONFIG_FILE"


def transfer_arguments(declaration: Declaration, seat: Seat) -> list[str]:
    """Return ``--kv-transfer-config`` and ``--kv-events-config`` as far as they are declared."""
    words: list[str] = []
    connectors = _connectors(declaration, seat)
    if connectors:
        words += ["--kv-transfer-config", json.dumps(_joined(connectors) | _address(declaration, seat), sort_keys=True)]
    events = declaration.values["events"]
    if events is not None:
        # vLLM binds wildcards only and connects to anything else (kv_events.py): the firewall is what closes this one.
        endpoint = f"tcp://*:{_first_port(events['port'], declaration, seat)}"
        config = {"enable_kv_cache_events": True, "endpoint": endpoint, "publisher": "zmq", "topic": events["topic"]}
        words += ["--kv-events-config", json.dumps(config, sort_keys=True)]
    return words


def _connectors(declaration: Declaration, seat: Seat) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    transfer, stage = declaration.values["transfer"], seat.group.stage
    if transfer is not None and stage is not None:
        found.append({"kv_connector": CONNECTORS[transfer["connector"]], "kv_role": ROLES[stage]})
    if declaration.values["cache"] is not None:
        found.append({"kv_connector": "LMCacheConnectorV1", "kv_role": "kv_both"})
    return found


def _joined(connectors: list[dict[str, Any]]) -> dict[str, Any]:
    if len(connectors) == 1:
        return connectors[0]
    return {
        "kv_connector": "MultiConnector",
        "kv_role": "kv_both",
        "kv_connector_extra_config": {"connectors": connectors},
    }


def _address(declaration: Declaration, seat: Seat) -> dict[str, str]:
    # The guide's kv_ip, in the releases that have the field; later ones refuse it and are pinned by the connector.
    if "kv_ip" in catalogue.fields("KVTransferConfig", declaration.values["release"]):
        return {"kv_ip": str(seat.host.legs["fabric"].primary)}
    return {}


def transfer_environment(declaration: Declaration, seat: Seat) -> dict[str, str]:
    """Return the variables that pin the connectors' sockets of ``seat``."""
    transfer, cache = declaration.values["transfer"], declaration.values["cache"]
    pins: dict[str, str] = {}
    if transfer is not None and transfer["connector"] == "nixl":
        port = _first_port(transfer["side_channel_port"], declaration, seat)
        pins |= {NIXL_HOST: str(seat.host.legs["fabric"].primary), NIXL_PORT: str(port)}
    if transfer is not None and transfer["connector"] == "mooncake":
        pins[MOONCAKE_PORT] = str(transfer["bootstrap_port"] + seat.local)
    if cache is not None:
        pins[LMCACHE_FILE] = cache["config"]
    return pins


def transfer_ports(declaration: Declaration, seat: Seat) -> list[dict[str, Any]]:
    """Return the listeners of ``seat`` for KV caches: name, ports, bind, sources, control, why."""
    transfer, events = declaration.values["transfer"], declaration.values["events"]
    found: list[dict[str, Any]] = []
    if transfer is not None and seat.group.stage is not None:
        others = [OTHER_STAGE[seat.group.stage]]
        if transfer["connector"] == "nixl":
            found.append(
                {
                    "name": "nixl-side-channel",
                    "ports": _ports(transfer["side_channel_port"], declaration, seat),
                    "bind": str(seat.host.legs["fabric"].primary),
                    "sources": others,
                    "control": "NET-03",
                    "why": "NIXL's metadata, unauthenticated, for the engines of the other stage only",
                }
            )
        elif seat.group.stage == "prefill" and (seat.head or seat.api):
            peers = [seat.group.peers] if seat.group.peers is not None else []
            found.append(
                {
                    "name": "mooncake-bootstrap",
                    "ports": str(transfer["bootstrap_port"] + seat.local),
                    "bind": "*",
                    # The router asks it which engines there are.
                    "sources": [*others, "gateways", *peers],
                    "control": "NET-03",
                    "why": "Mooncake's bootstrap server, unauthenticated, for decode engines and the router only",
                }
            )
    if events is not None:
        found.append(
            {
                "name": "kv-events",
                "ports": _ports(events["port"], declaration, seat),
                "bind": "*",
                "sources": ["event-subscribers"],
                "control": "NET-03",
                "why": "KV cache events, unauthenticated, for the declared subscribers only",
            }
        )
    return found


def _first_port(base: int, declaration: Declaration, seat: Seat) -> int:
    """Return the port a process is given; vLLM adds the data parallel rank to it."""
    return base if declaration.values["topology"] == "data_parallel" else base + seat.local


def _ports(base: int, declaration: Declaration, seat: Seat) -> str:
    low = _first_port(base, declaration, seat) + seat.first_rank
    high = low + seat.ranks - 1
    return str(low) if low == high else f"{low}-{high}"
