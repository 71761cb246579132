# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a probe says about a host, held against its declaration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..declaration.model import Declaration, Host, Leg
from ..problems import Problem, Severity

Probes = Mapping[str, Mapping[str, Any]]


def with_interfaces(declaration: Declaration, probes: Probes) -> tuple[Declaration, list[Problem]]:
    """Return the declaration with the interfaces the probes found, and what contradicts it.

    ``probes`` maps host names to what module ``hardened.vllm.probe`` returned; hosts without one stay as declared.
    """
    problems: list[Problem] = []
    hosts = tuple(
        _meet(host, probes[host.name], problems) if host.name in probes else host for host in declaration.hosts
    )
    isolated_by = declaration.values["networks"]["fabric"]["rdma_isolated_by"]
    for host in declaration.with_role("engine"):
        _check_rdma(host, probes.get(host.name, {}), isolated_by, problems)
    return replace(declaration, hosts=hosts), sorted(problems)


def _meet(host: Host, probe: Mapping[str, Any], problems: list[Problem]) -> Host:
    owners: Mapping[str, str] = probe.get("addresses") or {}
    legs = {name: _meet_leg(host.name, leg, owners, problems) for name, leg in host.legs.items()}
    resolution = probe.get("name_resolution") or {}
    if "engine" in host.roles and resolution.get("loopback"):
        found = ", ".join(resolution.get("addresses") or [])
        problems.append(
            Problem(
                f"hosts.{host.name}",
                "name-is-loopback",
                f"the host's own name resolving to {found}",
                "a name that resolves to the host's fabric address, or not at all",
                f"Remove the host's name from the loopback line of /etc/hosts on {host.name}; "
                "libraries that look their own name up would listen there.",
                Severity.WARNING,
            )
        )
    return replace(host, legs=legs)


def _check_rdma(host: Host, probe: Mapping[str, Any], isolated_by: str | None, problems: list[Problem]) -> None:
    names = sorted(device["name"] for device in probe.get("rdma_devices") or [])
    if names:
        problems.append(
            Problem(
                f"hosts.{host.name}",
                "rdma-unfiltered",
                f"RDMA devices {', '.join(names)}",
                "inter-node traffic the host's firewall sees, or an acknowledgement that it does not",
                "RDMA bypasses netfilter. Isolate its fabric on the switches (partitions, VLANs) and say how in "
                "vllm_cluster.networks.fabric.rdma_isolated_by."
                if isolated_by is None
                else f"Only this isolates it: {isolated_by}.",
                Severity.ERROR if isolated_by is None else Severity.WARNING,
            )
        )


def _meet_leg(host: str, leg: Leg, owners: Mapping[str, str], problems: list[Problem]) -> Leg:
    path = f"hosts.{host}.vllm_node"
    found: set[str] = set()
    for address in leg.addresses:
        interface = owners.get(str(address))
        if interface is None:
            problems.append(
                Problem(
                    f"{path}.addresses.{leg.network}",
                    "address-not-on-host",
                    f"no interface with {address}",
                    "an address the host has",
                    "Mend the address, or bring the interface up.",
                )
            )
        else:
            found.add(interface)
    if len(found) > 1:
        problems.append(
            Problem(
                f"{path}.addresses.{leg.network}",
                "addresses-apart",
                f"addresses on {sorted(found)}",
                "one interface for all addresses of a network",
                "Keep those of one interface.",
            )
        )
    if leg.interface is not None and found and leg.interface not in found:
        problems.append(
            Problem(
                f"{path}.interfaces.{leg.network}",
                "interface-mismatch",
                leg.interface,
                f"the interface that has the addresses, {sorted(found)[0]}",
                f"Mend {path}.interfaces.{leg.network} or leave it out.",
            )
        )
    return replace(leg, interface=leg.interface or (sorted(found)[0] if found else None))
