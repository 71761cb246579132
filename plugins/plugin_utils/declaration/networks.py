# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for networks and for the addresses hosts have on them."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from ..problems import Problem
from .kinds import Report
from .model import Address, Block, Host, Leg

PRIVATE_EXAMPLE = "a private block such as 10.20.0.0/24"


def read_blocks(networks: Mapping[str, Any], report: Report) -> dict[str, tuple[Block, ...]]:
    """Return the address blocks of each declared network; unreadable or unsafe ones are reported and left out."""
    result: dict[str, tuple[Block, ...]] = {}
    for name, network in networks.items():
        if network is None or network["cidrs"] is None:
            continue
        blocks = []
        for index, text in enumerate(network["cidrs"]):
            block = read_block(text, f"vllm_cluster.networks.{name}.cidrs[{index}]", report)
            if block is not None:
                blocks.append(block)
                if name == "fabric" and not _isolated(block):
                    path = f"vllm_cluster.networks.fabric.cidrs[{index}]"
                    report(
                        Problem(
                            path,
                            "fabric-public",
                            str(block),
                            PRIVATE_EXAMPLE,
                            "Inter-node traffic is unauthenticated: give the fabric a network of its own.",
                        )
                    )
        result[name] = tuple(blocks)
    _report_overlaps(result, report)
    return result


def read_block(text: str, path: str, report: Report) -> Block | None:
    """Return the block ``text`` names, or report why it names none."""
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        report(Problem(path, "bad-value", repr(text), "an address block in CIDR notation", f"Mend it: {error}."))
        return None


def _isolated(block: Block) -> bool:
    return block.is_private and not block.is_loopback and not block.is_unspecified and block.prefixlen > 0


def _report_overlaps(blocks: Mapping[str, tuple[Block, ...]], report: Report) -> None:
    for (left, mine), (right, theirs) in itertools.combinations(sorted(blocks.items()), 2):
        for one, other in itertools.product(mine, theirs):
            if one.version == other.version and one.overlaps(other):
                report(
                    Problem(
                        f"vllm_cluster.networks.{right}",
                        "network-overlap",
                        f"{other} overlapping {one} of {left}",
                        "networks that do not overlap",
                        f"Give {left} and {right} blocks of their own.",
                    )
                )


def may_be_own(address: Address) -> bool:
    """Tell whether others can reach a single host by ``address``."""
    return not (address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local)


def read_leg(
    host: str,
    network: str,
    texts: Iterable[str],
    interface: str | None,
    blocks: tuple[Block, ...] | None,
    report: Report,
) -> Leg | None:
    """Return the host's leg in ``network``; every address that cannot be its own there is reported."""
    addresses: list[Address] = []
    for index, text in enumerate(texts):
        path = f"hosts.{host}.vllm_node.addresses.{network}[{index}]"
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            report(Problem(path, "bad-value", repr(text), "an IP address", "Give the address itself, not a name."))
            continue
        if not may_be_own(address):
            report(
                Problem(
                    path,
                    "address-wildcard",
                    str(address),
                    "an address other hosts can reach this one by",
                    "A wildcard, loopback, link-local or multicast address pins nothing: give the host's own.",
                )
            )
            continue
        if blocks is None:
            report(
                Problem(
                    path,
                    "network-undeclared",
                    str(address),
                    f"vllm_cluster.networks.{network}",
                    f"Declare the network {network}, or remove the address.",
                )
            )
            continue
        if blocks and not any(address.version == block.version and address in block for block in blocks):
            listed = ", ".join(str(block) for block in blocks)
            report(
                Problem(
                    path,
                    "address-outside-network",
                    str(address),
                    f"an address inside {listed}",
                    f"Mend the address, or widen vllm_cluster.networks.{network}.cidrs.",
                )
            )
            continue
        addresses.append(address)
    return Leg(network, tuple(addresses), interface) if addresses else None


def report_shared(hosts: Iterable[Host], report: Report) -> None:
    """Report every address that two hosts claim."""
    owners: dict[Address, str] = {}
    for host in hosts:
        for leg in host.legs.values():
            for address in leg.addresses:
                other = owners.setdefault(address, host.name)
                if other != host.name:
                    report(
                        Problem(
                            f"hosts.{host.name}.vllm_node.addresses.{leg.network}",
                            "address-shared",
                            f"{address}, the address of {other}",
                            "an address no other host has",
                            "Give each host its own address.",
                        )
                    )
