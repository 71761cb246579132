# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clusters as an inventory spells them: groups say what a host is, ``vllm_cluster`` says whose it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .problems import Problem, shown

GROUPS = {
    "vllm_nodes": "engine",
    "vllm_gateways": "gateway",
    "vllm_monitors": "monitor",
    "vllm_observers": "observer",
}


def clusters(
    groups: Mapping[str, Iterable[str]], hostvars: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, dict[str, Any]], list[Problem]]:
    """Sort the hosts of an inventory into clusters.

    Returns ``{name: {"declaration": vllm_cluster, "hosts": {host: {"roles": [...], "node": ..., "probe": ...}}}}`` and what keeps a
    host out of any: no ``vllm_cluster``, or one that differs from the one its cluster already has. Only
    ``vllm_cluster``, ``vllm_node`` and ``preflight_probe`` are read of a host's variables, so facts cost nothing.
    """
    roles: dict[str, list[str]] = {}
    for group, role in GROUPS.items():
        for host in groups.get(group, ()):
            roles.setdefault(host, []).append(role)
    found: dict[str, dict[str, Any]] = {}
    problems: list[Problem] = []
    for host in sorted(roles):
        declaration = hostvars[host].get("vllm_cluster")
        if not isinstance(declaration, Mapping):
            problems.append(
                Problem(
                    f"hosts.{host}.vllm_cluster",
                    "missing-key",
                    shown(declaration),
                    "the declaration of its cluster",
                    f"Set vllm_cluster for {host}, in the variables of its cluster's group.",
                )
            )
            continue
        name = str(declaration.get("name"))
        cluster = found.setdefault(name, {"declaration": declaration, "hosts": {}})
        if cluster["declaration"] is not declaration and cluster["declaration"] != declaration:
            problems.append(
                Problem(
                    f"hosts.{host}.vllm_cluster",
                    "declaration-differs",
                    f"another declaration of cluster {shown(name)} than {next(iter(cluster['hosts']))} has",
                    "one declaration for all hosts of a cluster",
                    "Keep vllm_cluster in one group; what differs by host belongs in vllm_node.",
                )
            )
            continue
        cluster["hosts"][host] = {
            "roles": roles[host],
            "node": hostvars[host].get("vllm_node"),
            "probe": hostvars[host].get("preflight_probe"),
        }
    return found, problems
