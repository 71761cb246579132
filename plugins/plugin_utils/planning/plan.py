# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan: everything each host must be, from a declaration alone.

A pure function: the same declaration and interfaces give the same plan, in any order of hosts, and no secret is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..declaration.model import Declaration, Host
from ..declaration.tenants import key_digest
from . import access
from .engine import engine_part
from .gateway import gateway_part, key_name
from .topology import Seat, seats

FORMAT = 1


def build(declaration: Declaration) -> dict[str, Any]:
    """Return the plan of a cluster as JSON types; docs/plan.md describes its keys."""
    taken = seats(declaration)
    by_host = {seat.host.name: seat for seat in taken}
    managed = [host for host in declaration.hosts if {"engine", "gateway"} & set(host.roles)]
    hosts = {host.name: _host_plan(declaration, host, by_host.get(host.name), taken) for host in managed}
    return {
        "format": FORMAT,
        "cluster": declaration.name,
        "release": declaration.values["release"],
        "topology": declaration.values["topology"],
        "sets": access.source_sets(declaration, {seat.group.name: seat.group for seat in taken}.values()),
        "secrets": _secrets(declaration),
        "matrix": _matrix(hosts),
        "hosts": hosts,
    }


def _host_plan(declaration: Declaration, host: Host, seat: Seat | None, taken: list[Seat]) -> dict[str, Any]:
    listeners = access.admin_listeners(declaration, host)
    engine = gateway = None
    sysctl: dict[str, str] = {}
    if seat is not None:
        engine = engine_part(declaration, seat, host.legs["fabric"].interface)
        own = access.engine_listeners(declaration, seat)
        sysctl = _sysctl(declaration, own)
        listeners += own
    if "gateway" in host.roles:
        gateway = gateway_part(declaration, host, taken)
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
        "engine": engine,
        "gateway": gateway,
    }


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _sysctl(declaration: Declaration, listeners: list[dict[str, Any]]) -> dict[str, str]:
    low, _dash, high = str(declaration.values["engine"]["ephemeral_ports"]).partition("-")
    fixed = sorted(int(listener["ports"]) for listener in listeners if listener["name"] != "fabric-ephemeral")
    settings = {"net.ipv4.ip_local_port_range": f"{int(low)} {int(high)}"}
    if fixed:
        settings["net.ipv4.ip_local_reserved_ports"] = ",".join(str(port) for port in fixed)
    return settings


def _secrets(declaration: Declaration) -> list[dict[str, str]]:
    directory = str(declaration.values["secrets_directory"]).rstrip("/")
    result = [{"name": "upstream", "file": f"{directory}/upstream.key"}]
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
