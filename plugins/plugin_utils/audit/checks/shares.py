# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many connections one source may hold, as the packet filter in force has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..view import Absent, Looked, Said, View
from . import nft
from .firewall import in_force

CONTROL = "NET-14"


def source_shares(view: View) -> Iterator[Said]:
    """Judge whether every way to a limited listener counts its source's connections first."""
    limited = [listener for listener in view.listeners() if listener["per_source"] is not None]
    if not limited:
        yield Absent("no listener with a share for each source is planned here", CONTROL)
        return
    objects = in_force(view, CONTROL)
    if not isinstance(objects, list):
        yield objects  # type: ignore[misc]
        return
    refusals = nft.chain_rules(objects, "too_many")
    if not refusals or nft.verdict(refusals[-1]) != "reject":
        yield view.finding(CONTROL, "chain too_many", "it does not refuse", "a refusal of whom it is led")
    for listener in limited:
        place = f"share of one source at {listener['name']}"
        wanted = {(family, listener["per_source"]) for family in ("ipv4", "ipv6")}
        counted = _counted(objects, listener)
        for way in sorted(counted):
            if wanted - counted[way]:
                held = ", ".join(f"{family}: {most}" for family, most in sorted(counted[way])) or "no limit"
                expected = f"at most {listener['per_source']} connections of each source"
                yield view.finding(CONTROL, place, held, expected, evidence=[f"chain {way}"])
            else:
                yield Looked(CONTROL, f"chain {way}")
        if not counted:
            yield view.finding(CONTROL, place, "no chain for its ports", "a chain that counts")


def _counted(objects: nft.Objects, listener: Mapping[str, Any]) -> dict[str, set[tuple[str, int]]]:
    """Return (family, most connections) that are counted before anybody is let in, for each chain that lets in to ``listener``."""
    found: dict[str, set[tuple[str, int]]] = {}
    for _protocol, _low, _high, decision in nft.dispatched(objects, "input"):
        chain = decision.partition(" ")[2]
        rules = nft.chain_rules(objects, chain)
        places = [place for place, rule in enumerate(rules) if rule.get("comment") == _comment(listener)]
        if places:
            found[chain] = set(_limits(rules[: places[0]], str(listener["name"])))
    return found


def _limits(rules: Sequence[Mapping[str, Any]], name: str) -> Iterator[tuple[str, int]]:
    for rule in rules:
        if nft.verdict(rule) != "goto too_many":
            continue
        for part in rule["expr"]:
            added = part.get("set")
            for family in ("ipv4", "ipv6"):
                if added is not None and added["set"] == f"@held_{name}_{family}":
                    yield from (
                        (family, one["ct count"]["val"])
                        for one in added.get("stmt", ())
                        if "ct count" in one and one["ct count"].get("inv")
                    )


def _comment(listener: Mapping[str, Any]) -> str:
    return f"{listener['control']} {listener['name']}"
