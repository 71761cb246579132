# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What others put beside our table: chains that see packets first, ports that lead elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...planning.firewalls import FIRST_REDIRECTION
from ...problems import Severity
from .. import ranges
from ..view import Looked, Said, Unchecked, View
from . import nft


def foreign_firewall(view: View) -> Iterator[Said]:
    """Judge whether no other table redirects packets before ours, or publishes ports past it."""
    evidence = view.known("nftables")
    if isinstance(evidence, Unchecked):
        yield evidence
        return
    objects = evidence["nftables"] or []
    # Planned ports are decided before the redirection.
    planned = {
        protocol: [
            pair for one in view.listeners() if one["protocol"] == protocol for pair in ranges.ports_of(one["ports"])
        ]
        for protocol in ("tcp", "udp")
    }
    for entry in objects:
        chain: Mapping[str, Any] = entry.get("chain") or {}
        theirs = (chain.get("family"), chain.get("table")) != nft.OWN
        if not theirs or chain.get("hook") is None:
            continue
        name = f"chain {chain['name']} of table {chain['family']} {chain['table']}"
        before = chain.get("type") == "nat" and chain["hook"] == "prerouting" and _priority(chain) < FIRST_REDIRECTION
        if before and view.part is not None:
            yield view.finding("NET-10", name, f"redirections at priority {chain['prio']}", "none before dstnat - 10")
        elif chain["family"] == "netdev" and chain["hook"] == "ingress":
            yield view.finding(
                "NET-10", name, "a chain at the hook ingress", "none: it sees packets first", severity=Severity.WARNING
            )
    for rule, protocol, redirected in published(objects):
        left = ranges.common(redirected, ranges.others(planned.get(protocol, ())))
        if not left:
            continue
        ports = f"{protocol} {ranges.text(left)}"
        yield view.finding(
            "NET-10",
            f"{ports} by chain {rule['chain']} of table {rule['family']} {rule['table']}",
            f"{ports} redirected past the firewall",
            "no port of this host that leads elsewhere",
            severity=Severity.ERROR if view.part is not None else Severity.WARNING,
            remedy="Publish the port on 127.0.0.1 only, or remove the container.",
        )
    for family, tables in (evidence["legacy_tables"] or {}).items():
        if tables:
            found = f"tables {', '.join(tables)} of iptables-legacy ({family})"
            yield view.finding(
                "NET-10", f"iptables-legacy, {family}", found, "no rules nft does not show", severity=Severity.WARNING
            )
    yield Looked("NET-10", f"{sum('chain' in entry for entry in objects)} chains")


def _priority(chain: Mapping[str, Any]) -> int:
    return int(chain.get("prio", 0))


def published(objects: nft.Objects) -> Iterator[tuple[Mapping[str, Any], str, list[tuple[int, int]]]]:
    """Yield (rule, protocol, ports) of each rule of others that leads packets elsewhere.

    One that looks at no port leads all of them where it is first to see them; elsewhere those that lead to its chain say which.
    """
    first = {
        (chain["family"], chain["table"], chain["name"])
        for chain in (entry["chain"] for entry in objects if "chain" in entry)
        if chain.get("type") == "nat" and chain.get("hook") == "prerouting"
    }
    for entry in objects:
        rule = entry.get("rule")
        if rule is None or (rule["family"], rule["table"]) == nft.OWN or nft.verdict(rule) not in ("dnat", "redirect"):
            continue
        if _local_only(nft.matched(rule, "daddr")) or nft.matched(rule, "oifname") == "lo":
            continue
        ports = nft.ports(rule, objects)
        if ports is None and (rule["family"], rule["table"], rule["chain"]) in first:
            ports = [(1, 65535)]
        for protocol in nft.protocols(rule):
            if ports:
                yield rule, protocol, ports


def _local_only(target: Any) -> bool:
    prefix = target.get("prefix") if isinstance(target, Mapping) else None
    address = prefix.get("addr") if isinstance(prefix, Mapping) else target
    return isinstance(address, str) and (address.startswith("127.") or address == "::1")
