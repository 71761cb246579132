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
    _check_tls(declaration, gateway, tenants, report)
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


# What an issuer of the gateway's certificate needs, and no other may have.
ISSUER_NEEDS = {"files": ("certificate", "key"), "private": (), "acme": ("acme",)}


def _check_tls(
    declaration: Declaration, gateway: Mapping[str, Any], tenants: list[Mapping[str, Any]], report: Report
) -> None:
    tls = gateway["tls"]
    if tls is None or tls["issuer"] is None:
        return
    here, issuer = "vllm_cluster.gateway.tls", tls["issuer"]
    for owner, names in ISSUER_NEEDS.items():
        for name in names:
            path = f"{here}.{name}"
            if owner == issuer and tls[name] is None:
                report(Problem(path, "missing-key", "nothing", f"a value, because issuer is {issuer}", f"Set {path}."))
            elif owner != issuer and tls[name] is not None:
                expected = f"nothing, because issuer is {issuer}"
                report(Problem(path, "tls-source", "a value", expected, f"Remove it, or set {here}.issuer to {owner}."))
    if issuer == "acme":
        _check_acme(declaration, gateway, f"{here}.issuer", report)
    _check_client_certificates(tls, tenants, report)


def _check_acme(declaration: Declaration, gateway: Mapping[str, Any], path: str, report: Report) -> None:
    if 80 in (gateway["port"], gateway["monitor_port"]):
        report(
            Problem(
                path,
                "port-collision",
                "80, also a port of the gateway",
                "port 80 left to the ACME server's questions",
                "Move gateway.port or gateway.monitor_port.",
            )
        )
    gateways = [host.name for host in declaration.with_role("gateway")]
    if len(gateways) > 1:
        report(
            Problem(
                path,
                "acme-gateways",
                f"acme and the gateways {', '.join(gateways)}",
                "one gateway, because the ACME server may ask any of them what only one knows",
                "Use issuer private, or get the certificate elsewhere and use files.",
            )
        )


def _check_client_certificates(tls: Mapping[str, Any], tenants: list[Mapping[str, Any]], report: Report) -> None:
    seen: dict[str, str] = {}
    if tls["client_revocations"] is not None and tls["client_authority"] is None:
        report(
            Problem(
                "vllm_cluster.gateway.tls.client_revocations",
                "client-authority-missing",
                "a value",
                "a vllm_cluster.gateway.tls.client_authority, whose list it is",
                "Set vllm_cluster.gateway.tls.client_authority, or remove the list.",
            )
        )
    for position, tenant in enumerate(tenants):
        subject, path = tenant["certificate"], f"vllm_cluster.tenants[{position}].certificate"
        if subject is None:
            continue
        if tls["client_authority"] is None:
            report(
                Problem(
                    path,
                    "client-authority-missing",
                    shown(subject),
                    "a vllm_cluster.gateway.tls.client_authority that signed it",
                    "Set vllm_cluster.gateway.tls.client_authority, or remove the certificate.",
                )
            )
        # nginx compares without regard to case.
        other = seen.setdefault(subject.lower(), path)
        if other != path:
            report(
                Problem(
                    path,
                    "certificate-shared",
                    f"the subject of {other}",
                    "a subject no other tenant has",
                    "Have a certificate of its own made for each tenant.",
                )
            )
