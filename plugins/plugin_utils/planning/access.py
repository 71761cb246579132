# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may reach what: the named sets of sources and the listeners of each host."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from ..declaration.model import Declaration, Host
from .gateway import monitor_sources
from .topology import EngineGroup, Seat, fixed_ports

EVERYONE = {"ipv4": ["0.0.0.0/0"], "ipv6": ["::/0"]}


def _by_family(sources: Iterable[Any]) -> dict[str, list[str]]:
    unique = sorted(set(sources), key=lambda source: (source.version, source))
    return {f"ipv{version}": [str(source) for source in unique if source.version == version] for version in (4, 6)}


def _fabric(hosts: Iterable[Host]) -> dict[str, list[str]]:
    return _by_family(address for host in hosts for address in host.legs["fabric"].addresses)


def source_sets(declaration: Declaration, groups: Iterable[EngineGroup]) -> dict[str, dict[str, list[str]]]:
    """Return the named sources: ``{set: {"ipv4": [...], "ipv6": [...]}}``, addresses or blocks, sorted."""
    admin = declaration.values["admin"]
    sets = {
        "everyone": EVERYONE,
        "gateways": _fabric(declaration.with_role("gateway")),
        "operators": _by_family(ipaddress.ip_network(text) for text in admin["ssh_from"]),
    }
    for service in admin["services"]:
        sets[f"service-{service['name']}"] = _by_family(ipaddress.ip_network(text) for text in service["from"])
    if declaration.values["gateway"]["monitor_port"] is not None:
        sets["monitors"] = _by_family(monitor_sources(declaration))
    for group in groups:
        if group.peers is not None:
            sets[group.peers] = _fabric(group.members)
    return dict(sorted(sets.items()))


def engine_listeners(declaration: Declaration, seat: Seat) -> list[dict[str, Any]]:
    """Return the listeners of an engine host that its topology opens."""
    engine = declaration.values["engine"]
    result = []
    if seat.head:
        result.append(
            _listener(
                seat.host,
                "api",
                "fabric",
                engine["port"],
                ["gateways"],
                "NET-02",
                "vLLM's HTTP server, for the gateways only",
            )
        )
    if seat.group.peers is not None:
        for name, port in fixed_ports(declaration, seat).items():
            result.append(
                _listener(
                    seat.host,
                    name,
                    "fabric",
                    port,
                    [seat.group.peers],
                    "NET-03",
                    "unauthenticated inter-node traffic, for the members of this engine only",
                )
            )
        result.append(
            _listener(
                seat.host,
                "fabric-ephemeral",
                "fabric",
                engine["ephemeral_ports"],
                [seat.group.peers],
                "NET-03",
                "gloo, NCCL, message queues and stores of this engine's members",
            )
        )
    return result


def gateway_listeners(declaration: Declaration, host: Host) -> list[dict[str, Any]]:
    """Return the listeners of a gateway."""
    gateway = declaration.values["gateway"]
    result = [_listener(host, "https", gateway["network"], gateway["port"], ["everyone"], "GW-01", "clients, over TLS")]
    if gateway["monitor_port"] is not None:
        why = "health and metrics of the engines, status of nginx, for monitors only"
        port = gateway["monitor_port"]
        result.append(_listener(host, "monitor", "management", port, ["monitors"], "GW-02", why))
    return result


def admin_listeners(declaration: Declaration, host: Host) -> list[dict[str, Any]]:
    """Return the listeners every managed host has for its administrators."""
    admin = declaration.values["admin"]
    network = "management" if "management" in host.legs else None
    result = [_listener(host, "ssh", network, admin["ssh_port"], ["operators"], "NET-04", "administration over SSH")]
    for service in admin["services"]:
        if service["network"] in host.legs:
            result.append(
                _listener(
                    host,
                    service["name"],
                    service["network"],
                    service["port"],
                    [f"service-{service['name']}"],
                    "NET-05",
                    "a service of the operator's own",
                    service["protocol"],
                )
            )
    return result


def _listener(
    host: Host,
    name: str,
    network: str | None,
    ports: Any,
    sources: list[str],
    control: str,
    why: str,
    protocol: str = "tcp",
) -> dict[str, Any]:
    leg = host.legs[network] if network is not None else None
    return {
        "name": name,
        "network": network,
        "interface": leg.interface if leg is not None else None,
        "protocol": protocol,
        "ports": str(ports),
        "from": sources,
        "control": control,
        "why": why,
    }
