# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The packet filter's JSON (nft -j list ruleset), read as far as the checks need it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from .. import ranges

OWN = ("inet", "hardened_vllm")
Objects = Sequence[Mapping[str, Any]]


def _at(value: Any, *keys: str) -> Any:
    """Return what lies below ``keys``, None where there is no such thing."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


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

    A verdict is written as ``verdict`` gives it. Maps by anything else, and entries that are none of ours, are left out: ``strange_map``
    tells of them.
    """
    for rule in chain_rules(objects, chain):
        for part in rule["expr"]:
            for ports, decision in _entries(part):
                pair = _pair(ports)
                if _at(part, "vmap", "key", "payload", "field") == "dport" and pair is not None:
                    yield str(_at(part, "vmap", "key", "payload", "protocol")), *pair, verdict({"expr": [decision]})


def strange_map(rule: Mapping[str, Any]) -> bool:
    """Tell whether a rule leads packets on by a map that ``dispatched`` cannot read, or by their state in another way than ours."""
    for part in rule["expr"]:
        if "vmap" not in part:
            continue
        entries = list(_entries(part))
        if _at(part, "vmap", "key", "ct", "key") == "state":
            known = all((state, verdict({"expr": [one]})) in _STATES for state, one in entries)
        else:
            known = _at(part, "vmap", "key", "payload", "field") == "dport"
            known = known and all(_pair(ports) is not None for ports, _decision in entries)
        whole = _at(part, "vmap", "data", "set")
        if not known or not isinstance(whole, list) or len(entries) != len(whole):
            return True
    return False


# What ours does with packets by their state alone.
_STATES = (("established", "accept"), ("invalid", "drop"))


def _entries(part: Mapping[str, Any]) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    whole = _at(part, "vmap", "data", "set")
    for entry in whole if isinstance(whole, list) else ():
        if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], Mapping):
            yield entry[0], entry[1]


def _pair(item: Any) -> tuple[int, int] | None:
    """Return a port or a range of them as its ends, None when it is neither."""
    ends = _at(item, "range") if isinstance(item, Mapping) else [item, item]
    if (
        not isinstance(ends, list)
        or len(ends) != 2
        or not all(isinstance(end, int) and 0 <= end <= 65535 for end in ends)
    ):
        return None
    return int(ends[0]), int(ends[1])


def has_table(objects: Objects) -> bool:
    """Tell whether our table is there."""
    return any((entry.get("table") or {}).get("name") == OWN[1] for entry in objects)


def verdict(rule: Mapping[str, Any]) -> str:
    """Return what a rule does with a packet: accept, drop, reject, dnat, redirect, jump x, goto x, or nothing of these."""
    for part in rule["expr"]:
        for name in ("accept", "drop", "reject", "dnat", "redirect", "masquerade", "return"):
            if name in part:
                return name
        for name in ("jump", "goto"):
            if name in part:
                return f"{name} {_at(part, name, 'target')}"
    return ""


def matched(rule: Mapping[str, Any], key: str) -> Any:
    """Return what ``key`` (``iifname``, ``dport``, ``saddr``, ``state``) has to be for a rule, None when it may be much else."""
    for part in rule["expr"]:
        left = _at(part, "match", "left")
        named = _at(left, "meta", "key") or _at(left, "payload", "field") or _at(left, "ct", "key")
        if named == key and _at(part, "match", "op") in ("==", "in"):
            return _at(part, "match", "right")
    return None


def for_others(rule: Mapping[str, Any]) -> bool:
    """Tell whether a rule is for packets to addresses this host does not have."""
    for part in rule["expr"]:
        fib = _at(part, "match", "left", "fib")
        if fib == {"result": "type", "flags": ["daddr"]}:
            return (_at(part, "match", "op"), _at(part, "match", "right")) == ("!=", "local")
    return False


def protocol(rule: Mapping[str, Any]) -> str:
    """Return the protocol whose port a rule looks at, empty when it looks at none."""
    return next((str(payload["protocol"]) for payload in map(_port_looked_at, rule["expr"]) if payload), "")


def _port_looked_at(part: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the payload whose destination port a statement compares, masks or looks up where to send it."""
    masked = _at(part, "match", "left", "&")
    for one in (
        _at(part, "match", "left"),
        _at(part, "dnat", "addr", "map", "key"),
        *(masked if isinstance(masked, list) else ()),
    ):
        if _at(one, "payload", "field") == "dport" and _at(one, "payload", "protocol"):
            return dict(one["payload"])
    return None


def protocols(rule: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the protocols with ports a rule is for."""
    named = protocol(rule) or str(matched(rule, "l4proto") or "")
    return (named,) if named in _WITH_PORTS else _WITH_PORTS


_WITH_PORTS = ("tcp", "udp")
_EVERY = [(1, 65535)]


def ports(rule: Mapping[str, Any], objects: Objects = ()) -> list[tuple[int, int]] | None:
    """Return the destination ports a rule is for, as spans; None when it looks at no port.

    ``objects`` has the named sets. What can be any port, such as one masked, is every port.
    """
    found: list[tuple[int, int]] | None = None
    for part in rule["expr"]:
        if _port_looked_at(part) is None:
            continue
        some = _EVERY
        targets = _at(part, "dnat", "addr", "map", "data", "set")
        if isinstance(targets, list):
            some = _pairs({"set": [entry[0] for entry in targets if isinstance(entry, list) and entry]}, objects, rule)
        elif "payload" in (_at(part, "match", "left") or ()):
            compared_with = _pairs(_at(part, "match", "right"), objects, rule)
            some = _compared_ports(str(_at(part, "match", "op")), compared_with)
        found = some if found is None else ranges.common(found, some)
    return found


def target(rule: Mapping[str, Any], port: int) -> tuple[str | None, int] | None:
    """Return where a rule leads connections to ``port``: address, None for the host's own, and port; None when that cannot be read."""
    for part in rule["expr"]:
        for name in ("dnat", "redirect"):
            if name not in part:
                continue
            there = _at(part, name, "port")
            address = _at(part, name, "addr")
            entries = _at(address, "map", "data", "set")
            if isinstance(entries, list):
                found = [one[1] for one in entries if isinstance(one, list) and len(one) == 2 and one[0] == port]
                address = found[0] if found else None
            if name == "redirect" or isinstance(address, str):
                return address, there if isinstance(there, int) else port
    return None


def _compared_ports(operator: str, pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    if operator == "!=":
        return ranges.others(pairs)
    if operator in ("<", "<=", ">", ">=") and pairs:
        bound = pairs[0][0]
        low = {">": bound + 1, ">=": bound}.get(operator, 1)
        high = {"<": bound - 1, "<=": bound}.get(operator, 65535)
        return [(low, high)] if low <= high else []
    return pairs


def compared(rule: Mapping[str, Any]) -> Any:
    """Return what a rule looks up several things together in, such as address and port."""
    for part in rule["expr"]:
        if _at(part, "match", "left", "concat") is not None:
            return _at(part, "match", "right")
    return None


def _pairs(value: Any, objects: Objects, rule: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return the ports of ``value`` as spans, none for what holds none; a named set is looked up in the table of ``rule``."""
    items: Any = [value]
    if isinstance(value, Mapping) and "set" in value:
        items = value["set"]
    elif isinstance(value, str) and value.startswith("@"):
        sets = of_table(objects, "set", rule["family"], rule["table"])
        items = next((one.get("elem") for one in sets if one["name"] == value[1:]), None)
    pairs = (_pair(_bare(item)) for item in (items if isinstance(items, list) else ()))
    return ranges.merged(pair for pair in pairs if pair is not None)


def _bare(element: Any) -> Any:
    """Return an element of a set without its counter, comment or timeout."""
    return _at(element, "elem", "val") if isinstance(element, Mapping) and "elem" in element else element


# What stands for an element that is no address: no planned set has it.
UNREAD = (-9, -9)


def spans(elements: Iterable[Any]) -> list[tuple[int, int]]:
    """Return addresses, prefixes and ranges as merged spans of numbers, ``UNREAD`` for what is none."""
    return ranges.merged(_span(_bare(element)) for element in elements)


def _span(element: Any) -> tuple[int, int]:
    if isinstance(element, Mapping) and "prefix" in element:
        element = f"{_at(element, 'prefix', 'addr')}/{_at(element, 'prefix', 'len')}"
    ends = _at(element, "range")
    try:
        if isinstance(ends, list) and len(ends) == 2:
            return int(ipaddress.ip_address(ends[0])), int(ipaddress.ip_address(ends[1]))
        network = ipaddress.ip_network(str(element), strict=False)
    except ValueError:
        return UNREAD
    return int(network.network_address), int(network.broadcast_address)
