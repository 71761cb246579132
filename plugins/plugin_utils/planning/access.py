# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may reach what: the named sets of sources and the listeners of each host."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from ..declaration.model import Declaration, Host
from ..declaration.topology_schema import STAGES
from .egress import egress_sets
from .endpoint import endpoint
from .gateway import monitor_sources
from .media import CONTROL as MEDIA_CONTROL
from .media import ENGINES, own_proxy
from .parallel import fixed_ports
from .ray import ray_ports, uses_ray
from .topology import EngineGroup, Seat
from .transfer import OTHER_STAGE, transfer_ports

EVERYONE = {"ipv4": ["0.0.0.0/0"], "ipv6": ["::/0"]}


def _by_family(sources: Iterable[Any]) -> dict[str, list[str]]:
    unique = sorted(set(sources), key=lambda source: (source.version, source))
    return {f"ipv{version}": [str(source) for source in unique if source.version == version] for version in (4, 6)}


def _fabric(hosts: Iterable[Host]) -> dict[str, list[str]]:
    return _by_family(address for host in hosts for address in host.legs["fabric"].addresses)


def source_sets(declaration: Declaration, groups: Iterable[EngineGroup]) -> dict[str, dict[str, list[str]]]:
    """Return the named sources: ``{set: {"ipv4": [...], "ipv6": [...]}}``, addresses or blocks, sorted."""
    admin, events = declaration.values["admin"], declaration.values["events"]
    sets = {
        "everyone": EVERYONE,
        "fabric": _by_family(declaration.blocks["fabric"]),
        "gateways": _fabric(declaration.with_role("gateway")),
        "operators": _by_family(ipaddress.ip_network(text) for text in admin["ssh_from"]),
    }
    for service in admin["services"]:
        sets[f"service-{service['name']}"] = _by_family(ipaddress.ip_network(text) for text in service["from"])
    if events is not None:
        sets["event-subscribers"] = _by_family(ipaddress.ip_network(text) for text in events["subscribers"])
    if declaration.values["gateway"]["monitor_port"] is not None:
        sets["monitors"] = _by_family(monitor_sources(declaration))
    for group in groups:
        if group.peers is not None:
            sets[group.peers] = _fabric(group.members)
    for stage in STAGES:
        members = [host for host in declaration.with_role("engine") if host.stage == stage]
        if members:
            sets[stage] = _fabric(members)
    sets |= {name: _by_family(destinations) for name, destinations in egress_sets(declaration).items()}
    return dict(sorted(sets.items()))


def engine_listeners(
    declaration: Declaration, host: Host, groups: Iterable[EngineGroup], seats: Iterable[Seat]
) -> list[dict[str, Any]]:
    """Return the listeners of an engine host: those of its processes, and the ports the kernel chooses for them."""
    engine = declaration.values["engine"]
    found: list[dict[str, Any]] = []
    peers: set[str] = set()
    for group in groups:
        if group.peers is not None:
            peers.add(group.peers)
        if group.stage is not None:
            peers.add(OTHER_STAGE[group.stage])
        if uses_ray(declaration):
            found += [_internal(host, port) for port in ray_ports(declaration, group, host)]
    for seat in seats:
        found += [_internal(host, port, seat.local) for port in _seat_ports(declaration, seat)]
    if peers:
        ephemeral = {
            "name": "fabric-ephemeral",
            "ports": engine["ephemeral_ports"],
            "bind": "*",
            "sources": sorted(peers),
            "control": "NET-03",
            "why": "gloo, NCCL, message queues, stores and transfers of this engine's members",
        }
        found.append(_internal(host, ephemeral))
    return found


def _seat_ports(declaration: Declaration, seat: Seat) -> list[dict[str, Any]]:
    found = transfer_ports(declaration, seat)
    where = endpoint(declaration, seat)
    if seat.api and "port" in where:
        found.append(
            {
                "name": "api",
                "ports": str(where["port"]),
                "bind": where["address"],
                "sources": ["gateways"],
                "control": "NET-02",
                "why": "vLLM's HTTP server, for the gateways only",
            }
        )
    for name, (port, bind) in fixed_ports(declaration, seat).items():
        found.append(
            {
                "name": name,
                "ports": str(port),
                "bind": bind,
                "sources": [seat.group.peers],
                "control": "NET-03",
                "why": "unauthenticated inter-node traffic, for the members of this engine only",
            }
        )
    return found


def _internal(host: Host, port: dict[str, Any], local: int = 0) -> dict[str, Any]:
    name = port["name"] if local == 0 else f"{port['name']}-{local}"
    return _listener(
        host, name, "fabric", port["ports"], port["sources"], port["control"], port["why"], bind=port["bind"]
    )


def gateway_listeners(declaration: Declaration, host: Host) -> list[dict[str, Any]]:
    """Return the listeners of a gateway."""
    gateway = declaration.values["gateway"]
    result = [_listener(host, "https", gateway["network"], gateway["port"], ["everyone"], "GW-01", "clients, over TLS")]
    result[0]["per_source"] = gateway["limits"]["connections_per_source"] or None
    if gateway["tls"]["issuer"] == "acme":
        why = "the ACME server's questions, answered only while a certificate is asked for"
        result.append(_listener(host, "acme", gateway["network"], 80, ["everyone"], "GW-03", why))
    if gateway["monitor_port"] is not None:
        why = "health and metrics of the engines, status of nginx, for monitors only"
        port = gateway["monitor_port"]
        result.append(_listener(host, "monitor", "management", port, ["monitors"], "GW-02", why))
    if own_proxy(declaration):
        port, why = declaration.values["media"]["port"], "the proxy that leads to media of the allowed hosts"
        bind = str(host.legs["fabric"].primary)
        result.append(_listener(host, "media", "fabric", port, [ENGINES], MEDIA_CONTROL, why, bind=bind))
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
    bind: str = "*",
) -> dict[str, Any]:
    leg = host.legs[network] if network is not None else None
    return {
        "name": name,
        "network": network,
        "interface": leg.interface if leg is not None else None,
        "protocol": protocol,
        "bind": bind,
        "ports": str(ports),
        "from": sources,
        "control": control,
        "why": why,
        "per_source": None,
    }
