# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The packet filter's JSON (nft -j list ruleset), read as far as the checks need it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

OWN = ("inet", "hardened_vllm")
Objects = Sequence[Mapping[str, Any]]


def of_table(objects: Objects, kind: str, family: str, table: str) -> Iterator[Mapping[str, Any]]:
    """Yield the ``kind`` (chain, rule, set) objects of a table."""
    for entry in objects:
        found = entry.get(kind)
        if found is not None and found["family"] == family and found["table"] == table:
            yield found


def own(objects: Objects, kind: str) -> list[Mapping[str, Any]]:
    """Return the objects of the collection's own table."""
    return list(of_table(objects, kind, *OWN))


def chain_rules(objects: Objects, chain: str) -> list[Mapping[str, Any]]:
    """Return the rules of a chain of our own table, in order."""
    return [rule for rule in own(objects, "rule") if rule["chain"] == chain]


def dispatched(objects: Objects, chain: str) -> Iterator[tuple[str, int, int, str]]:
    """Yield (protocol, first port, last port, verdict) for each entry of a chain's verdict maps by destination port.

    A verdict is written as ``verdict`` gives it. Maps by anything else are left out.
    """
    for rule in chain_rules(objects, chain):
        for part in rule.get("expr", ()):
            key = (part.get("vmap") or {}).get("key", {})
            payload = key.get("payload", {}) if isinstance(key, Mapping) else {}
            if payload.get("field") != "dport":
                continue
            data = part["vmap"]["data"]
            for ports, decision in data["set"] if isinstance(data, Mapping) else ():
                low, high = ports["range"] if isinstance(ports, Mapping) else (ports, ports)
                yield str(payload["protocol"]), int(low), int(high), verdict({"expr": [decision]})


def has_table(objects: Objects) -> bool:
    """Tell whether our table is there."""
    return any((entry.get("table") or {}).get("name") == OWN[1] for entry in objects)


def verdict(rule: Mapping[str, Any]) -> str:
    """Return what a rule does with a packet: accept, drop, reject, dnat, redirect, jump x, goto x, or nothing of these."""
    for part in rule.get("expr", ()):
        for name in ("accept", "drop", "reject", "dnat", "redirect", "masquerade", "return"):
            if name in part:
                return name
        for name in ("jump", "goto"):
            if name in part:
                return f"{name} {part[name]['target']}"
    return ""


def matched(rule: Mapping[str, Any], key: str) -> Any:
    """Return what a rule compares ``key`` (``iifname``, ``dport``, ``saddr``) with, None when it does not look at it."""
    for part in rule.get("expr", ()):
        match = part.get("match")
        if match is not None:
            left = match["left"]
            named = left.get("meta", {}).get("key") or left.get("payload", {}).get("field")
            if named == key:
                return match["right"]
    return None


def protocol(rule: Mapping[str, Any]) -> str:
    """Return the protocol whose port a rule looks at, empty when it looks at none."""
    for part in rule.get("expr", ()):
        payload = (part.get("match") or {}).get("left", {})
        payload = payload.get("payload", {}) if isinstance(payload, Mapping) else {}
        if payload.get("field") == "dport":
            return str(payload["protocol"])
    return ""


def port_text(value: Any) -> str:
    """Return ports as ``22,40000-44999``, sorted; empty for None."""
    if value is None:
        return ""
    items = value.get("set", [value]) if isinstance(value, Mapping) else [value]
    pairs = []
    for item in items:
        low, high = item["range"] if isinstance(item, Mapping) else (item, item)
        pairs.append((int(low), int(high)))
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in merged(pairs))


def merged(pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans of numbers sorted, those that touch or overlap as one."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(pairs):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return found


def spans(elements: Iterable[Any]) -> list[tuple[int, int]]:
    """Return addresses, prefixes and ranges as merged spans of numbers."""
    found = []
    for element in elements:
        if isinstance(element, Mapping) and "elem" in element:
            element = element["elem"]["val"]
        if isinstance(element, Mapping) and "prefix" in element:
            element = f"{element['prefix']['addr']}/{element['prefix']['len']}"
        if isinstance(element, Mapping):
            low, high = (int(ipaddress.ip_address(end)) for end in element["range"])
        else:
            network = ipaddress.ip_network(str(element), strict=False)
            low, high = int(network.network_address), int(network.broadcast_address)
        found.append((low, high))
    return merged(found)
