# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what is written in an inventory to a checked declaration, with every problem at once."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any

from ..problems import Problem, shown, type_name
from . import (
    egress_rules,
    gateway_rules,
    install_rules,
    model_rules,
    rules,
    secrets,
    tenants,
    topology_rules,
    upstream,
)
from .kinds import Report
from .model import ROLES, Declaration, Host, Leg
from .networks import read_blocks, read_leg, report_shared
from .schema import CLUSTER, NODE
from .words import HOST


def read(
    cluster: Any, hosts: Mapping[str, Mapping[str, Any]], today: datetime.date
) -> tuple[Declaration | None, list[Problem]]:
    """Read a declaration.

    ``cluster`` is the value of ``vllm_cluster``; ``hosts`` maps each host's name to ``{"roles": [...],
    "node": vllm_node}``. Returns the declaration, or None when anything is wrong, and the sorted problems.
    """
    problems: list[Problem] = []
    report = problems.append
    values = CLUSTER.read(cluster, "vllm_cluster", report)
    if values is None:
        return None, problems
    model_rules.read_model(values, cluster, report)
    networks = values["networks"] or {}
    blocks = read_blocks(networks, report)
    members = [_read_host(name, hosts[name], blocks, bool(networks), report) for name in sorted(hosts, key=str)]
    known = tuple(sorted((host for host in members if host is not None), key=lambda host: host.order))
    declaration = Declaration(values, known, blocks)
    _check(declaration, today, report)
    failed = any(problem.severity.name == "ERROR" for problem in problems)
    return (None if failed else declaration), sorted(set(problems))


def _read_host(
    name: str, host: Mapping[str, Any], blocks: Mapping[str, Any], judge: bool, report: Report
) -> Host | None:
    path = f"hosts.{name}.vllm_node"
    if not isinstance(name, str) or not _shaped(host):
        found = f"a {type_name(host)} with name {shown(name)}"
        expected = "a name with a mapping of a list roles, a mapping node and, where it was probed, a mapping probe"
        report(
            Problem(
                f"hosts.{name}", "wrong-type", found, expected, "hardened.vllm.clusters makes them of an inventory."
            )
        )
        return None
    if re.fullmatch(HOST.pattern, name) is None:
        # Names of rules, units and upstreams are made of it.
        mend = "Rename it in the inventory; ansible_host keeps its address."
        report(Problem(f"hosts.{shown(name)}", "bad-value", f"a host named {shown(name)}", HOST.expects, mend))
    if not host.get("node"):
        report(Problem(path, "missing-key", "nothing", "the host's addresses", f"Set vllm_node for {name}."))
        return None
    node = NODE.read(host["node"], path, report)
    if node is None or node["addresses"] is None:
        return None
    legs: dict[str, Leg] = {}
    for network, texts in node["addresses"].items():
        if texts is None:
            continue
        interface = (node["interfaces"] or {}).get(network)
        here = blocks.get(network) if judge else ()
        leg = read_leg(name, network, texts, interface, here, report)
        if leg is not None:
            legs[network] = leg
    roles = tuple(role for role in ROLES if role in host.get("roles", ()))
    declared = frozenset(network for network in node["addresses"] if host["node"]["addresses"].get(network))
    return Host(name, roles, legs, declared, node["rank"], node["stage"])


def _shaped(host: Any) -> bool:
    return (
        isinstance(host, Mapping)
        and isinstance(host.get("roles", []), list | tuple)
        and isinstance(host.get("probe") or {}, Mapping)
    )


def _check(declaration: Declaration, today: datetime.date, report: Report) -> None:
    values = declaration.values
    rules.check_release(values, report)
    rules.check_paths(values, report)
    if values["install"] is not None:
        install_rules.check_install(values["install"], (values["engine"] or {}).get("devices"), report)
    if values["engine"] is not None and values["admin"] is not None:
        rules.check_ports(values["engine"], values["admin"], report)
    if values["engine"] is not None:
        rules.check_owned(values, report)
        upstream.check_upstream_tls(values, report)
        upstream.check_listener(values, report)
    secrets.check_secrets(values, report)
    if values["engine"] is not None and values["topology"] is not None:
        topology_rules.check_topology(declaration, report)
    if values["admin"] is not None:
        rules.check_admin(values["admin"], report)
    if values["gateway"] is not None:
        rules.check_hosts(declaration, report)
        gateway_rules.check_gateway(declaration, report)
    tenants.check_tenants(values["tenants"] or [], today, report)
    egress_rules.check_egress(declaration, report)
    rules.check_waivers(values["waivers"] or [], today, report)
    report_shared(declaration.hosts, report)
