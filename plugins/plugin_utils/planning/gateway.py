# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a gateway is given: its closed set of routes, its tenants by key, its upstreams, its monitors."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any

from .. import catalogue
from ..declaration.model import Declaration, Host
from ..declaration.tenants import expiry, key_digest
from .endpoint import endpoint, on_socket
from .topology import Seat, ranks_behind
from .upstream_tls import upstream_tls

# What a parameter of a query may be. None of it needs an escape.
QUERY_KINDS = {"boolean": "(?:true|false)", "number": "[0-9]{1,9}", "name": "[A-Za-z0-9._/-]{1,96}"}
# The largest number of requests a rank of vLLM takes at the same time unless it is told (vllm/engine/arg_utils.py, for the largest
# accelerators). Where it takes fewer, the rest waits in its queue.
MOST_SEQUENCES = 1024
MONITORED = ("/health", "/metrics")
# Where the client of an ACME server keeps the gateway's certificate.
ACME_DIRECTORY = "/var/lib/hardened-vllm-gateway/certificates"
# Below secrets_directory/tls, for an authority of the cluster's own.
PRIVATE_FILES = {
    "certificate": "gateway.pem",
    "key": "gateway.key",
    "authority": "authority.pem",
    "authority_key": "authority.key",
}


def gateway_part(declaration: Declaration, host: Host, taken: list[Seat]) -> dict[str, Any]:
    """Return the plan of the gateway on ``host``."""
    gateway = declaration.values["gateway"]
    limits = gateway["limits"]
    tenants = [_tenant(tenant) for tenant in sorted(declaration.values["tenants"], key=lambda item: str(item["name"]))]
    return {
        "listen": _sockets(host, gateway["network"], gateway["port"]),
        "server_name": gateway["server_name"],
        "tls": tls_part(declaration),
        "syslog": gateway["syslog"],
        "upstreams": _upstreams(declaration, host, taken),
        "upstream_secret": "upstream",
        "upstream_tls": upstream_tls(declaration),
        "balancing": gateway["balancing"],
        "cors_origins": sorted(set(gateway["cors_origins"])),
        "routes": _routes(declaration),
        "profiles": _profiles(declaration, tenants),
        "tenants": tenants,
        "monitor": _monitor(declaration, host),
        "limits": {
            name: limits[name]
            for name in (
                "connect_timeout_seconds",
                "failed_keys_per_minute",
                "header_bytes",
                "read_timeout_seconds",
            )
        },
    }


def tls_part(declaration: Declaration) -> dict[str, Any]:
    """Return where the gateways' certificate comes from, with its paths: on the controller, with issuer acme on the gateway.

    ``names`` are those it has to be for. With issuer private ``authority`` and ``authority_key`` are paths too.
    """
    gateway = declaration.values["gateway"]
    tls = dict(gateway["tls"])
    if tls["issuer"] == "private":
        directory = f"{str(declaration.values['secrets_directory']).rstrip('/')}/tls"
        tls |= {name: f"{directory}/{file}" for name, file in PRIVATE_FILES.items()}
    if tls["issuer"] == "acme":
        tls |= {"certificate": f"{ACME_DIRECTORY}/{gateway['server_name']}.crt"}
        tls |= {"key": f"{ACME_DIRECTORY}/{gateway['server_name']}.key"}
    tls["names"] = [gateway["server_name"]]
    return tls


def _upstreams(declaration: Declaration, host: Host, taken: list[Seat]) -> list[dict[str, Any]]:
    transfer = declaration.values["transfer"]
    if transfer is not None:
        # A request has to see a prefill and a decode engine: the operator's router on this gateway sends it there.
        port = transfer["router_port"]
        return [
            {
                "name": "router",
                "address": "127.0.0.1",
                "port": port,
                "engine": None,
                "host": None,
                "concurrent": None,
            }
        ]
    return [
        {
            "name": seat.host.name if seat.local == 0 else f"{seat.host.name}-{seat.local}",
            **endpoint(declaration, seat),
            "engine": seat.group.name,
            "host": seat.host.name,
            "concurrent": _room(declaration, seat),
        }
        for seat in taken
        if seat.api and (seat.host.name == host.name or not on_socket(declaration))
    ]


def _room(declaration: Declaration, seat: Seat) -> int:
    """Return how many requests the engine may have from one gateway: those it works on, and those that may wait.

    Engines before 0.29.0 let any number wait, each for as long as the gateway waits for an answer.
    """
    engine = declaration.values["engine"]
    named = {str(name).replace("_", "-"): value for name, value in engine["arguments"].items()}
    sequences = str(named.get("max-num-seqs", MOST_SEQUENCES))
    one = int(sequences) if sequences.isdecimal() and int(sequences) else MOST_SEQUENCES
    return one * ranks_behind(declaration, seat) + int(engine["max_queued_requests"])


def key_name(tenant: str, key: str) -> str:
    """Return the name of a tenant's key among the plan's secrets."""
    return f"tenants/{tenant}/{key}"


def monitor_sources(declaration: Declaration) -> tuple[Any, ...]:
    """Return the addresses monitors come from, on the management network."""
    legs = [host.legs["management"] for host in declaration.with_role("monitor") if "management" in host.legs]
    return tuple(address for leg in legs for address in leg.addresses)


def _sockets(host: Host, network: str, port: int) -> list[dict[str, Any]]:
    return [{"address": str(address), "port": port} for address in host.legs[network].addresses]


def _routes(declaration: Declaration) -> list[dict[str, Any]]:
    gateway = declaration.values["gateway"]
    limits = gateway["limits"]
    found: dict[str, dict[str, Any]] = {}
    for route in catalogue.user_routes(frozenset(gateway["routes"]), declaration.values["release"]):
        websocket = route.method == "WEBSOCKET"
        entry = found.setdefault(
            route.path,
            {
                "path": route.path,
                "methods": [],
                "group": route.group,
                "body_bytes": 0,
                "generates": False,
                "websocket": websocket,
                "target": _target(route),
                "ids": dict(route.ids),
            },
        )
        entry["methods"].append("GET" if websocket else route.method)
        entry["generates"] |= websocket or (route.method != "GET" and not route.ids)
        if entry["methods"][-1] != "GET" and not route.ids:
            entry["body_bytes"] = limits["route_body_bytes"].get(route.group, limits["body_bytes"])
    return list(found.values())


def _target(route: catalogue.Route) -> str | None:
    """Return what a client may write for a route as a regular expression, None where it is the path and nothing else.

    An id becomes the group ``id_NAME``.
    """
    if not route.ids and not route.query:
        return None
    target = re.escape(route.path)
    for name, pattern in route.ids:
        target = target.replace(re.escape(f"{{{name}}}"), f"(?<id_{name}>{pattern})")
    if route.query:
        one = "(?:" + "|".join(f"{name}={QUERY_KINDS[kind]}" for name, kind in route.query) + ")"
        target += rf"(?:\?{one}(?:&{one}){{0,{len(route.query) - 1}}})?"
    return target


def _profiles(declaration: Declaration, tenants: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what tenants may do, each combination once; a tenant's member ``profile`` is an index of this list."""
    offered = tuple(sorted(set(declaration.values["gateway"]["routes"])))
    kinds: dict[tuple[tuple[str, ...], int | None], int] = {}
    for tenant in tenants:
        kind = (tuple(sorted(set(tenant.pop("routes") or offered))), tenant.pop("body_bytes"))
        tenant["profile"] = kinds.setdefault(kind, len(kinds))
    return [{"groups": list(groups), "body_bytes": limit} for groups, limit in kinds]


def _tenant(tenant: Mapping[str, Any]) -> dict[str, Any]:
    keys = []
    for key in tenant["keys"]:
        digest = key_digest(key)
        reference = {"secret": key_name(tenant["name"], key["id"])} if digest is None else {"sha256": digest}
        keys.append({"id": key["id"], **reference, "expires": _seconds(expiry(key))})
    return {
        "name": tenant["name"],
        "keys": keys,
        "from": sorted(set(tenant["from"] or [])),
        "certificate": tenant["certificate"],
        **{name: tenant[name] for name in ("requests_per_second", "burst", "concurrent", "routes", "body_bytes")},
    }


def _seconds(moment: datetime.datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())


def _monitor(declaration: Declaration, host: Host) -> dict[str, Any] | None:
    """Return the listener for monitors, None when none is declared; ``paths`` are those of each engine."""
    port = declaration.values["gateway"]["monitor_port"]
    if port is None:
        return None
    known = catalogue.routes(declaration.values["release"])
    paths = {route.path for route in known if route.audience == "monitor" and route.method == "GET"}
    return {
        "listen": _sockets(host, "management", port),
        "from": [str(address) for address in sorted(monitor_sources(declaration), key=lambda one: (one.version, one))],
        "paths": [path for path in MONITORED if path in paths],
    }
