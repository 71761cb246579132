# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for what engines may call: never the cloud's metadata, never everybody."""

from __future__ import annotations

import ipaddress
from typing import Any

from ..problems import Problem, shown
from .kinds import Report
from .model import Declaration
from .networks import read_block

# Link-local space, and the metadata service Amazon gives an address of its own in IPv6.
METADATA = tuple(ipaddress.ip_network(text) for text in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128"))
LOOPBACK = tuple(ipaddress.ip_network(text) for text in ("127.0.0.0/8", "::1/128"))


def check_egress(declaration: Declaration, report: Report) -> None:
    """Refuse destinations that would open the wall, and media hosts nobody could resolve."""
    values = declaration.values
    targets = [
        (f"vllm_cluster.egress[{number}].to[{index}]", text)
        for number, entry in enumerate(values["egress"] or [])
        for index, text in enumerate(entry["to"] or [])
    ]
    media = values["media"] or {}
    proxy = media.get("proxy")
    if proxy is not None and proxy["address"] is not None:
        targets.append(("vllm_cluster.media.proxy.address", proxy["address"]))
    targets += [
        (f"vllm_cluster.media.resolvers[{index}]", text) for index, text in enumerate(media.get("resolvers") or [])
    ]
    for path, text in targets:
        block = read_block(text, path, report)
        if block is not None:
            _check_block(path, block, report)
    names = [entry["name"] for entry in values["egress"] or [] if entry["name"] is not None]
    for name in sorted({name for name in names if names.count(name) > 1}):
        report(
            Problem(
                "vllm_cluster.egress", "egress-name-shared", shown(name), "a name of its own", "Rename one of them."
            )
        )
    if media.get("allowed_domains") and proxy is None and not media.get("resolvers"):
        report(
            Problem(
                "vllm_cluster.media.resolvers",
                "media-unresolved",
                "nothing",
                "the name servers the gateways ask for media.allowed_domains",
                "Engines resolve no names, the proxy on the gateways does: name its servers, or a proxy of your own.",
            )
        )


def _check_block(path: str, block: Any, report: Report) -> None:
    if block.prefixlen == 0:
        found, expected = f"{block}, everybody", "the addresses that are needed"
    elif any(block.version == other.version and block.overlaps(other) for other in METADATA):
        found, expected = f"{block}, where clouds keep credentials", "no link-local or metadata address"
    elif any(block.version == other.version and block.overlaps(other) for other in LOOPBACK):
        found, expected = f"{block}, services of the host itself", "another host's address"
    else:
        return
    report(
        Problem(path, "egress-unsafe", found, expected, "A request that gets an engine to call out must not get there.")
    )
