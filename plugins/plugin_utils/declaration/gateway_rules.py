# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules that look at more than one value of a gateway and its tenants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import catalogue
from ..problems import Problem, did_you_mean, shown
from .kinds import Report
from .model import Declaration
from .networks import read_block

# vLLM keeps no owner of a stored answer: whoever has the group reads and cancels everybody's.
OWNERLESS = "responses-store"


def check_gateway(declaration: Declaration, report: Report) -> None:
    """Refuse a door on the fabric, routes nobody offers, a store tenants would share, and a door for absent monitors."""
    gateway, tenants = declaration.values["gateway"], declaration.values["tenants"] or []
    if gateway is None:
        return
    _check_network(gateway, report)
    _check_groups(declaration, gateway, tenants, report)
    _check_store(declaration, gateway, tenants, report)
    _check_monitor(declaration, gateway, report)
    for position, tenant in enumerate(tenants):
        for index, text in enumerate(tenant["from"] or []):
            read_block(text, f"vllm_cluster.tenants[{position}].from[{index}]", report)


def _check_network(gateway: Mapping[str, Any], report: Report) -> None:
    if gateway["network"] == "fabric":
        report(
            Problem(
                "vllm_cluster.gateway.network",
                "gateway-on-fabric",
                "fabric",
                "edge or management: clients would need the network whose traffic nobody authenticates",
                "Give the gateways a second network for clients, and choose it.",
            )
        )


def _check_groups(
    declaration: Declaration, gateway: Mapping[str, Any], tenants: list[Mapping[str, Any]], report: Report
) -> None:
    release = declaration.values["release"]
    known = catalogue.user_groups(release if release in catalogue.releases() else None)
    for index, group in enumerate(gateway["routes"] or []):
        if group not in known:
            report(
                Problem(
                    f"vllm_cluster.gateway.routes[{index}]",
                    "route-group-unknown",
                    shown(group),
                    f"a group of routes users of vLLM {release} may have",
                    did_you_mean(group, known),
                )
            )
    offered = gateway["routes"] or []
    chosen = [
        (f"vllm_cluster.tenants[{position}].routes[{index}]", group)
        for position, tenant in enumerate(tenants)
        for index, group in enumerate(tenant["routes"] or [])
    ]
    limited = (gateway["limits"] or {}).get("route_body_bytes") or {}
    chosen += [(f"vllm_cluster.gateway.limits.route_body_bytes.{group}", group) for group in limited]
    for path, group in chosen:
        if group not in offered:
            report(
                Problem(
                    path,
                    "route-not-offered",
                    shown(group),
                    f"a group of vllm_cluster.gateway.routes: {', '.join(offered)}",
                    f"Remove it, or add {group} to vllm_cluster.gateway.routes.",
                )
            )


def _check_store(
    declaration: Declaration, gateway: Mapping[str, Any], tenants: list[Mapping[str, Any]], report: Report
) -> None:
    if OWNERLESS not in (gateway["routes"] or []):
        return
    users = [str(tenant["name"]) for tenant in tenants if OWNERLESS in (tenant["routes"] or gateway["routes"])]
    if len(users) > 1:
        report(
            Problem(
                "vllm_cluster.gateway.routes",
                "answers-shared",
                f"{OWNERLESS} for {', '.join(users)}",
                "one tenant that may use it",
                "vLLM keeps no owner of a stored answer, so each of them could read the others': "
                "give every other tenant routes without it.",
            )
        )
    if _servers(declaration) > 1 and gateway["balancing"] != "tenant":
        report(
            Problem(
                "vllm_cluster.gateway.balancing",
                "answers-scattered",
                shown(gateway["balancing"]),
                f"tenant, because {OWNERLESS} is offered",
                "Each engine knows its own answers only; let one engine serve a tenant.",
            )
        )


def _servers(declaration: Declaration) -> int:
    """Return how many APIs there are, at least."""
    engine, hosts = declaration.values["engine"], len(declaration.with_role("engine"))
    if engine is None or not hosts:
        return 0
    if declaration.values["topology"] == "replicas":
        return hosts * int(engine["engines_per_node"])
    size = int(engine["nodes_per_engine"] or hosts)
    return hosts if engine["load_balancing"] != "internal" else hosts // size


def _check_monitor(declaration: Declaration, gateway: Mapping[str, Any], report: Report) -> None:
    port = gateway["monitor_port"]
    if port is None:
        return
    here = "vllm_cluster.gateway.monitor_port"
    admin = declaration.values["admin"] or {}
    taken = {"admin.ssh_port": admin.get("ssh_port")}
    if gateway["network"] == "management":
        taken["gateway.port"] = gateway["port"]
    for name, other in taken.items():
        if other == port:
            found = f"{port}, also vllm_cluster.{name}"
            report(Problem(here, "port-collision", found, "a port of its own", "Change one of them."))
    monitors = declaration.with_role("monitor")
    if not monitors:
        report(
            Problem(
                here,
                "monitor-missing",
                "no host in vllm_monitors",
                "at least one host that may come",
                f"Add the monitors of cluster {declaration.name} to the group vllm_monitors, or remove the port.",
            )
        )
    for host in (*monitors, *declaration.with_role("gateway")):
        if "management" not in host.declared:
            report(
                Problem(
                    f"hosts.{host.name}.vllm_node.addresses.management",
                    "address-missing",
                    "no usable address",
                    "an address on the management network, where gateways are monitored",
                    "Declare it for this host, or remove vllm_cluster.gateway.monitor_port.",
                )
            )
