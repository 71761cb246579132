# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whom an engine may call: its peers on the planned ports, what is declared, and nobody else.

The wall behind ``--allowed-media-domains``, which was bypassed twice (CVE-2026-24779, CVE-2026-25960), and around code
that a model or a request brings along.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from ..declaration.model import Declaration
from .media import PROXIES, media_sets, own_proxy
from .transfer import OTHER_STAGE

CONTROL = "NET-06"


def egress_sets(declaration: Declaration) -> dict[str, list[Any]]:
    """Return the named destinations beside peers and stages: set name to addresses and blocks."""
    values = declaration.values
    found: dict[str, list[Any]] = {}
    for entry in _serving(declaration):
        found[f"egress-{entry['name']}"] = [ipaddress.ip_network(text) for text in entry["to"]]
    for number, server in enumerate((values["cache"] or {}).get("servers", ())):
        found[f"cache-{number}"] = [ipaddress.ip_network(text) for text in server["to"]]
    return found | media_sets(declaration)


def _serving(declaration: Declaration) -> list[dict[str, Any]]:
    return [entry for entry in declaration.values["egress"] if entry["purpose"] == "serve"]


def install_destinations(declaration: Declaration) -> list[str] | None:
    """Return the blocks an installation may call, none where wheels or an image are brought; None for what the node finds for its index."""
    install = declaration.values["install"]
    blocks = _blocks(declaration, "install")
    brought = install["find_links"] or install["bundle"] or install["image_archive"]
    if not blocks and (install["index_url"] or not brought):
        return None
    return blocks


def model_destinations(declaration: Declaration) -> list[str] | None:
    """Return the blocks that may be called for the model; None for what the node finds for its endpoint and hosts."""
    return _blocks(declaration, "model") or None


def _blocks(declaration: Declaration, purpose: str) -> list[str]:
    blocks = {
        ipaddress.ip_network(text)
        for entry in declaration.values["egress"]
        if entry["purpose"] == purpose
        for text in entry["to"]
    }
    return [str(block) for block in sorted(blocks, key=lambda block: (block.version, block))]


def declared_egress(declaration: Declaration) -> list[dict[str, Any]]:
    """Return the destinations of every engine that come from the declaration alone."""
    values = declaration.values
    found = [
        _rule(entry["name"], f"egress-{entry['name']}", entry["protocol"], str(entry["port"]), entry["why"])
        for entry in _serving(declaration)
    ]
    for number, server in enumerate((values["cache"] or {}).get("servers", ())):
        found.append(_rule(f"cache-{number}", f"cache-{number}", "tcp", str(server["port"]), "KV caches of LMCache"))
    proxy = values["media"]["proxy"]
    if proxy is not None or own_proxy(declaration):
        port = str((proxy or values["media"])["port"])
        found.append(_rule(PROXIES, PROXIES, "tcp", port, "media of the allowed hosts, through the proxy only"))
    return found


def with_egress(hosts: dict[str, dict[str, Any]], declaration: Declaration) -> None:
    """Give every host of ``hosts`` its ``egress``: null without an engine, else ``{own_ports, rules}``.

    What a listener opens to a set of peers is what those peers may call.
    """
    reach: dict[str, dict[str, set[str]]] = {}
    for host in hosts.values():
        for listener in host["listeners"]:
            for source in listener["from"]:
                if source.startswith("peers-") or source in OTHER_STAGE:
                    reach.setdefault(source, {}).setdefault(listener["protocol"], set()).add(listener["ports"])
    shared = declared_egress(declaration)
    for host in hosts.values():
        host["egress"] = None
        if host["engines"] or host["ray"] is not None:
            own = [listener["ports"] for listener in host["listeners"] if listener["network"] == "fabric"]
            host["egress"] = {
                "own_ports": ",".join(sorted({str(declaration.values["engine"]["ephemeral_ports"]), *own})),
                "rules": sorted([*_peers(host, reach), *shared], key=lambda rule: str(rule["name"])),
            }


def _peers(host: Mapping[str, Any], reach: Mapping[str, Mapping[str, set[str]]]) -> Iterable[dict[str, Any]]:
    parts = [*host["engines"], *([host["ray"]] if host["ray"] is not None else [])]
    sources: set[str] = set()
    for part in parts:
        sources.add(f"peers-{part['group_name']}")
        if part.get("stage") is not None:
            sources.add(part["stage"])
    for source in sorted(sources & reach.keys()):
        # What is open to prefill listens on decode, and the other way round.
        to = OTHER_STAGE.get(source, source)
        for protocol, ports in sorted(reach[source].items()):
            yield _rule(
                f"{to}-{protocol}", to, protocol, ",".join(sorted(ports)), "the engine's own traffic between nodes"
            )


def _rule(name: str, to: str, protocol: str, ports: str, why: str) -> dict[str, Any]:
    return {"name": name, "to": to, "protocol": protocol, "ports": ports, "control": CONTROL, "why": why}


def allowed(host: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return whom a unit of ``host`` may exchange packets with: its own ``addresses``, and gateways and peers as ``sets``.

    Sets are named, not copied: thousands of hosts share the thousands of addresses of one engine.
    """
    own = {text for leg in host["addresses"].values() for text in leg.values() if text is not None}
    names = {source for listener in host["listeners"] if listener["network"] == "fabric" for source in listener["from"]}
    return {"addresses": sorted(own), "sets": sorted(names | {rule["to"] for rule in host["egress"]["rules"]})}
