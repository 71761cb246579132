# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan: everything each host must be, from a declaration alone.

A pure function: the same declaration and interfaces give the same plan, in any order of hosts, and no secret is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..declaration.model import Declaration, Host, PortRange
from ..declaration.tenants import key_digest
from . import access
from .egress import allowed, with_egress
from .engine import engine_part, install_part, model_part
from .gateway import gateway_part, key_name, tls_part
from .media import media_part
from .parallel import lifeline_port
from .ray import KEY_NAME, ray_part, uses_ray
from .topology import EngineGroup, Seat, groups, seats
from .upstream_tls import certificates

FORMAT = 4


def build(declaration: Declaration) -> dict[str, Any]:
    """Return the plan of a cluster as JSON types; docs/plan.md describes its keys."""
    engines, taken = groups(declaration), seats(declaration)
    on_host: dict[str, tuple[list[EngineGroup], list[Seat]]] = {}
    for group in engines:
        for host in group.members:
            on_host.setdefault(host.name, ([], []))[0].append(group)
    for seat in taken:
        on_host[seat.host.name][1].append(seat)
    managed = [host for host in declaration.hosts if {"engine", "gateway"} & set(host.roles)]
    hosts = {host.name: _host_plan(declaration, host, *on_host.get(host.name, ([], [])), taken) for host in managed}
    with_egress(hosts, declaration)
    for part in hosts.values():
        for engine in part["engines"]:
            engine |= allowed(part)
    return {
        "format": FORMAT,
        "cluster": declaration.name,
        "release": declaration.values["release"],
        "topology": declaration.values["topology"],
        "rdma_isolated_by": declaration.values["networks"]["fabric"]["rdma_isolated_by"],
        "sets": access.source_sets(declaration, engines),
        "members": {group.name: [host.name for host in group.members] for group in engines},
        "secrets": _secrets(declaration),
        "tls": tls_part(declaration),
        "certificates": certificates(declaration, tls_part(declaration)),
        "matrix": _matrix(hosts),
        "start_order": start_order(declaration, engines, taken),
        "hosts": hosts,
    }


def _host_plan(
    declaration: Declaration, host: Host, engines: list[EngineGroup], own: list[Seat], taken: list[Seat]
) -> dict[str, Any]:
    listeners = access.admin_listeners(declaration, host)
    gateway = media = ray = None
    sysctl: dict[str, str] = {}
    if engines:
        internal = access.engine_listeners(declaration, host, engines, own)
        sysctl = _sysctl(declaration, internal)
        listeners += internal
        if uses_ray(declaration):
            ray = ray_part(declaration, engines[0], host)
    if "gateway" in host.roles:
        gateway = gateway_part(declaration, host, taken)
        media = media_part(declaration, host)
        listeners += access.gateway_listeners(declaration, host)
    return {
        "name": host.name,
        "roles": list(host.roles),
        "addresses": {
            name: {f"ipv{version}": _text(leg.first(version)) for version in (4, 6)}
            for name, leg in sorted(host.legs.items())
        },
        "interfaces": {name: leg.interface for name, leg in sorted(host.legs.items())},
        "listeners": sorted(listeners, key=lambda listener: str(listener["name"])),
        "sysctl": sysctl,
        "install": install_part(declaration) if engines else None,
        "model": model_part(declaration) if engines else None,
        "engines": [engine_part(declaration, seat) for seat in own],
        "ray": ray,
        "gateway": gateway,
        "media": media,
    }


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _sysctl(declaration: Declaration, listeners: list[dict[str, Any]]) -> dict[str, str]:
    engine = declaration.values["engine"]
    low, _dash, high = str(engine["ephemeral_ports"]).partition("-")
    fixed = [PortRange.parse(listener["ports"]) for listener in listeners if listener["name"] != "fabric-ephemeral"]
    if uses_ray(declaration):
        fixed.append(PortRange.parse(str(engine["ray"]["client_port"])))
    elif len(fixed) < len(listeners):
        # Where peers reach those ports.
        fixed.append(PortRange(lifeline_port(declaration), lifeline_port(declaration)))
    settings = {"net.ipv4.ip_local_port_range": f"{int(low)} {int(high)}"}
    if fixed:
        settings["net.ipv4.ip_local_reserved_ports"] = ",".join(str(ports) for ports in sorted(fixed))
    return settings


def start_order(declaration: Declaration, engines: list[EngineGroup], taken: list[Seat]) -> list[dict[str, Any]]:
    """Return the steps in which an engine's processes start: ``{engine, step, processes: [{host, name}]}``.

    vLLM's own processes wait for each other and start together; a Ray cluster has to stand before vLLM looks for it.
    """
    together: dict[str, list[dict[str, str]]] = {}
    for seat in taken:
        together.setdefault(seat.group.name, []).append({"host": seat.host.name, "name": seat.name})
    steps: list[dict[str, Any]] = []
    for group in engines:
        waves = [together[group.name]]
        if uses_ray(declaration):
            nodes = [{"host": host.name, "name": "ray"} for host in group.members]
            waves = [wave for wave in (nodes[:1], nodes[1:], together[group.name]) if wave]
        steps += [{"engine": group.name, "step": step, "processes": wave} for step, wave in enumerate(waves, 1)]
    return steps


def _secrets(declaration: Declaration) -> list[dict[str, str]]:
    directory = str(declaration.values["secrets_directory"]).rstrip("/")
    result = [{"name": "upstream", "file": f"{directory}/upstream.key"}]
    if uses_ray(declaration):
        result.append({"name": KEY_NAME, "file": f"{directory}/{KEY_NAME}.key"})
    for tenant in declaration.values["tenants"]:
        for key in tenant["keys"]:
            if key_digest(key) is None:
                name = key_name(tenant["name"], key["id"])
                result.append({"name": name, "file": key["file"] or f"{directory}/{name}.key"})
    return sorted(result, key=lambda secret: secret["name"])


def _matrix(hosts: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row per listener: who finds it open; for everybody else it is closed."""
    return [
        {
            "to": name,
            "listener": listener["name"],
            "network": listener["network"],
            "protocol": listener["protocol"],
            "ports": listener["ports"],
            "open_to": listener["from"],
            "closed_to": "others",
            "control": listener["control"],
        }
        for name, host in sorted(hosts.items())
        for listener in host["listeners"]
    ]
