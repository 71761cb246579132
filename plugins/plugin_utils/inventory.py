# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clusters as an inventory spells them: groups say what a host is, ``vllm_cluster`` says whose it is."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .declaration.model import Address
from .declaration.networks import may_be_own
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
    host out of any: no ``vllm_cluster``, or one that differs from the one its cluster already has; and every address
    that hosts of two clusters claim, because each would open its ports for the other's peers. Only
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
    return found, [*problems, *_claimed_twice(found)]


def audited(
    groups: Mapping[str, Iterable[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    evidence: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Return what an audit makes of an inventory; a host nobody declared is no problem here, it is audited as foreign.

    ``evidence`` is that of the hosts looked at so far; it stands in for their probe, which an audit does not need.

    ``clusters`` and ``problems`` are as in ``clusters``, of the hosts with ``vllm_cluster`` alone; ``hosts`` are those to look at,
    all but monitors and observers; ``foreign`` are those of them without a plan; ``declared`` maps every one of ``hosts`` to the
    addresses the inventory names for it.
    """
    owned = {
        group: [host for host in groups.get(group, ()) if isinstance(hostvars[host].get("vllm_cluster"), Mapping)]
        for group in GROUPS
    }
    found, problems = clusters(owned, hostvars)
    for cluster in found.values():
        for name, host in cluster["hosts"].items():
            addresses = evidence.get(name, {}).get("addresses")
            host["probe"] = {"addresses": addresses} if addresses else None
    outside = {host for group in ("vllm_monitors", "vllm_observers") for host in groups.get(group, ())}
    planned = {host for group in ("vllm_nodes", "vllm_gateways") for host in owned[group]}
    hosts = sorted((set(groups.get("all", ())) - outside) | planned)
    return {
        "clusters": found,
        "problems": problems,
        "hosts": hosts,
        "foreign": [host for host in hosts if host not in planned],
        "declared": {host: _named_addresses(host, hostvars[host]) for host in hosts},
    }


def _named_addresses(host: str, variables: Mapping[str, Any]) -> list[str]:
    found = {str(address) for _path, address in _addresses({host: {"node": variables.get("vllm_node")}})}
    connection = str(variables.get("ansible_host") or host)
    # What a name stands for is known from the host itself.
    with contextlib.suppress(ValueError):
        found.add(str(ipaddress.ip_address(connection)))
    return sorted(found)


def _claimed_twice(clusters_found: Mapping[str, Mapping[str, Any]]) -> Iterator[Problem]:
    """Yield a problem for every address hosts of two clusters claim; inside one, its own validation says so."""
    if len(clusters_found) < 2:
        return
    owners: dict[Address, tuple[str, str]] = {}
    for name, cluster in clusters_found.items():
        for path, address in _addresses(cluster["hosts"]):
            owner, place = owners.setdefault(address, (name, path))
            if owner != name:
                yield Problem(
                    path,
                    "address-shared",
                    f"{address} in cluster {shown(name)}, which {place} of cluster {shown(owner)} has",
                    "an address no host of another cluster has",
                    "Give each host its own address, or put both into one cluster.",
                )


def _addresses(hosts: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Address]]:
    """Yield the addresses hosts declare and where; what is no address, or not as it should be, validation reports."""
    for host in sorted(hosts):
        node = hosts[host]["node"]
        legs = node.get("addresses") if isinstance(node, Mapping) else None
        for network, written in sorted(legs.items(), key=str) if isinstance(legs, Mapping) else ():
            for index, text in enumerate(written) if isinstance(written, (list, tuple)) else ():
                try:
                    address = ipaddress.ip_address(str(text))
                except ValueError:
                    continue
                if may_be_own(address):
                    yield f"hosts.{host}.vllm_node.addresses.{network}[{index}]", address
