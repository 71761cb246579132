# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The packet filter in force against the plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ...planning.firewalls import FIRST_REDIRECTION
from .. import ranges
from ..view import Absent, Looked, Said, Unchecked, View
from . import nft

Allowance = tuple[str, str, str, str, str]


def in_force(view: View, control: str) -> nft.Objects | Said:
    """Return the objects nft lists, when the plan's table is among them; else what ``control`` has to say about that."""
    if view.part is None:
        return Absent("no plan says what the firewall should be", control)
    evidence = view.known("nftables", control=control)
    if isinstance(evidence, Unchecked):
        return evidence
    found = evidence["nftables"] or []
    if not nft.has_table(found):
        return view.finding(control, "table inet hardened_vllm", "no such table", "the table the plan asks for")
    return found


def firewall_drift(view: View) -> Iterator[Said]:
    """Judge whether the table in force lets in whom the plan lets in, and nobody else."""
    objects = in_force(view, "NET-09")
    if not isinstance(objects, list):
        yield objects  # type: ignore[misc]
        return
    faults = [*_base_chain(objects), *_listeners(view, objects), *_sets(view, objects), *_openings(objects)]
    faults += _before_redirections(view, objects)
    for place, found, expected, lines in faults:
        yield view.finding("NET-09", place, found, expected, evidence=lines)
    if not faults:
        yield Looked("NET-09", f"{len(nft.own(objects, 'rule'))} rules in force")


def _base_chain(objects: nft.Objects) -> Iterator[tuple[str, str, str, list[str]]]:
    chain = next((one for one in nft.own(objects, "chain") if one["name"] == "input"), None)
    if chain is None or chain.get("hook") != "input":
        yield "chain input", "no chain at the hook input", "one that drops what no rule accepts", []
    elif chain.get("policy") != "drop":
        yield "policy of chain input", str(chain.get("policy")), "drop", []
    ends = nft.chain_rules(objects, "refused")
    if not ends or nft.verdict(ends[-1]) != "drop":
        yield "chain refused", "it does not end with a drop", "a drop", []


def _shown(allowance: Allowance) -> str:
    interface, protocol, ports, source, comment = allowance
    return (
        f"{protocol} {ports or 'any port'} on {interface or 'any interface'} from {source or 'everybody'} ({comment})"
    )


def _expected(view: View) -> set[Allowance]:
    return {
        (
            listener["interface"] or "",
            listener["protocol"],
            ranges.text(ranges.merged(ranges.ports_of(listener["ports"]))),
            f"@from_{name}_{family}",
            f"{listener['control']} {listener['name']}",
        )
        for listener in view.listeners()
        for name in listener["from"]
        for family in ("ipv4", "ipv6")
    }


def _allowances(objects: nft.Objects) -> set[Allowance]:
    """Return whom the chains accept that the ports of the chain input lead to."""
    return {
        (interface, protocol, ranges.text(pairs), source, comment)
        for (interface, protocol, source, comment), pairs in _accepted(objects, "input").items()
    }


def _accepted(objects: nft.Objects, chain: str) -> dict[tuple[str, str, str, str], list[tuple[int, int]]]:
    """Return (interface, protocol, source, comment) to ports, of whom the chains accept that the ports of ``chain`` lead to."""
    found: dict[tuple[str, str, str, str], list[tuple[int, int]]] = {}
    for protocol, low, high, decision in nft.dispatched(objects, chain):
        for rule in nft.chain_rules(objects, decision.partition(" ")[2]):
            if nft.verdict(rule) == "accept":
                source = str(nft.matched(rule, "saddr") or "")
                interface = str(nft.matched(rule, "iifname") or "")
                key = (interface, protocol, source, str(rule.get("comment", "no comment")))
                found.setdefault(key, []).append((low, high))
    return {key: ranges.merged(pairs) for key, pairs in found.items()}


def _listeners(view: View, objects: nft.Objects) -> Iterator[tuple[str, str, str, list[str]]]:
    wanted, present = _expected(view), _allowances(objects)
    for extra in sorted(present - wanted):
        yield f"rule for {_shown(extra)}", "a rule nobody planned", "planned rules only", [f"in force: {_shown(extra)}"]
    for missing in sorted(wanted - present):
        yield f"rule for {_shown(missing)}", "no such rule", "every planned rule", [f"planned: {_shown(missing)}"]


def _sets(view: View, objects: nft.Objects) -> Iterator[tuple[str, str, str, list[str]]]:
    present = {one["name"]: one for one in nft.own(objects, "set")}
    plan: Mapping[str, Any] = view.plan or {"sets": {}}
    names = {name for listener in view.listeners() for name in listener["from"]}
    for name in sorted(names):
        for family in ("ipv4", "ipv6"):
            found = present.get(f"from_{name}_{family}")
            planned = nft.spans(plan["sets"].get(name, {}).get(family, ()))
            if found is None:
                yield f"set from_{name}_{family}", "no such set", "the planned addresses", []
            elif nft.spans(found.get("elem", ())) != planned:
                yield f"set from_{name}_{family}", "other addresses than planned", "the planned addresses", []


def _openings(objects: nft.Objects) -> Iterator[tuple[str, str, str, list[str]]]:
    """Yield what our own chains let in, or lead elsewhere, beside what the listeners' chains judge."""
    yield from _led_elsewhere(objects)
    for rule in nft.chain_rules(objects, "input"):
        if nft.strange_map(rule):
            yield (
                "chain input, a verdict map",
                "a map by something else than planned ports",
                "the maps of planned ports",
                [],
            )
        decision = nft.verdict(rule)
        if decision in _LEADS or (decision == "accept" and _known(rule)) or decision in ("", "drop", "reject"):
            continue
        ports = ranges.text(nft.ports(rule, objects) or ())
        what = f"{nft.protocol(rule) or 'any protocol'} {ports or 'any port'}"
        done = "accepts" if decision == "accept" else f"says {decision} for"
        yield f"chain input, {what}", f"a rule that {done} {what}", "no accept before the listeners", []
    for rule in nft.chain_rules(objects, "control_messages"):
        if nft.verdict(rule) == "accept" and nft.matched(rule, "type") is None:
            yield "chain control_messages", "a rule that accepts more than ICMP", "messages of the planned types", []
    for rule in nft.chain_rules(objects, "too_many"):
        if nft.verdict(rule) not in ("", "reject"):
            yield "chain too_many", f"a rule that says {nft.verdict(rule)}", "a refusal of everything", []


def _led_elsewhere(objects: nft.Objects) -> Iterator[tuple[str, str, str, list[str]]]:
    """Yield ports that no chain of planned sources judges."""
    for protocol, low, high, decision in nft.dispatched(objects, "input"):
        judged = nft.chain_rules(objects, decision.partition(" ")[2]) if decision.startswith("jump ") else []
        if decision == "accept" or any(nft.verdict(rule) not in _JUDGES for rule in judged):
            what = f"{protocol} {ranges.span_text((low, high))}"
            yield f"chain input, {what}", f"{what} is {decision or 'led elsewhere'}", "a chain of planned sources", []


# What a rule of a chain of planned sources may do; the last refuses.
_JUDGES = ("accept", "", "goto too_many")
# Where packets go that no port leads anywhere.
_LEADS = ("jump control_messages", "goto refused")


def _known(rule: Mapping[str, Any]) -> bool:
    """Whether a rule is one of those every table of ours has."""
    live = rule.get("comment") == "NET-04 live connection" and nft.compared(rule) in _OPERATORS
    answers = tuple(nft.matched(rule, key) for key in ("saddr", "sport", "dport")) == _DHCP_ANSWERS
    return nft.matched(rule, "iifname") == "lo" or live or answers


_OPERATORS = ("@operator_ipv4", "@operator_ipv6")
_DHCP_ANSWERS = ({"prefix": {"addr": "fe80::", "len": 10}}, 547, 546)


def _before_redirections(view: View, objects: nft.Objects) -> Iterator[tuple[str, str, str, list[str]]]:
    """Yield what is wrong with the chain that decides on planned ports before others redirect them."""
    chain = next((one for one in nft.own(objects, "chain") if one["name"] == "published"), {})
    place = (chain.get("type"), chain.get("hook"), chain.get("prio"))
    if place != ("filter", "prerouting", FIRST_REDIRECTION):
        yield "chain published", "none before the redirections", "one at the hook prerouting, dstnat - 10", []
        return
    for rule in nft.chain_rules(objects, "published"):
        if nft.strange_map(rule) or not (nft.verdict(rule) in ("", "drop") or _passes_first(rule)):
            found = f"a rule that says {nft.verdict(rule) or 'something else than planned'}"
            yield "chain published", found, "no decision before the planned ports", []
    for protocol, low, high, decision in nft.dispatched(objects, "published"):
        judged = [nft.verdict(rule) for rule in nft.chain_rules(objects, decision.partition(" ")[2])]
        if decision.partition(" ")[0] != "jump" or judged[-1:] != ["goto refused"] or set(judged[:-1]) - {"accept"}:
            what = f"chain published, {protocol} {ranges.span_text((low, high))}"
            yield what, "not only the planned sources pass", "the planned sources, then a refusal", []
    present = _by_source((*key[:3], pairs) for key, pairs in _accepted(objects, "published").items())
    wanted = _by_source(
        (interface, protocol, source, ranges.ports_of(ports))
        for interface, protocol, ports, source, _comment in _expected(view)
    )
    for key in sorted(present.keys() | wanted.keys()):
        if present.get(key) != wanted.get(key):
            interface, protocol, source = key
            ports = {
                name: ranges.text(some.get(key, ())) or "no port"
                for name, some in (("found", present), ("planned", wanted))
            }
            what = f"chain published, {protocol} on {interface or 'any interface'} from {source or 'everybody'}"
            yield what, ports["found"], f"{ports['planned']}, as planned", []


def _by_source(
    parts: Iterable[tuple[str, str, str, list[tuple[int, int]]]],
) -> dict[tuple[str, str, str], list[tuple[int, int]]]:
    found: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
    for interface, protocol, source, pairs in parts:
        found.setdefault((interface, protocol, source), []).extend(pairs)
    return {key: ranges.merged(pairs) for key, pairs in found.items()}


def _passes_first(rule: Mapping[str, Any]) -> bool:
    """Whether a rule lets pass what the planned ports are no matter of."""
    known = nft.matched(rule, "state") == "established" or nft.matched(rule, "iifname") == "lo"
    return nft.verdict(rule) == "accept" and (known or nft.for_others(rule) or nft.compared(rule) in _OPERATORS)


def egress_wall(view: View) -> Iterator[Said]:
    """Judge whether the chain that holds the engine's calls back is in force."""
    if view.part is None or view.part["egress"] is None:
        yield Absent("no engine is planned here")
        return
    yield from _wall(view, "NET-06", "engine_egress", view.part["egress"]["rules"])


def media_wall(view: View) -> Iterator[Said]:
    """Judge whether the chain that holds the media proxy's calls back is in force."""
    if view.part is None or view.part["media"] is None:
        yield Absent("no proxy for media is planned here", "NET-08")
        return
    yield from _wall(view, "NET-08", "media_egress", view.part["media"]["rules"])


def _wall(view: View, control: str, chain: str, planned: list[Mapping[str, Any]]) -> Iterator[Said]:
    objects = in_force(view, control)
    if not isinstance(objects, list):
        yield objects  # type: ignore[misc]
        return
    led = any(nft.verdict(rule) == f"goto {chain}" for rule in nft.chain_rules(objects, "output"))
    rules = nft.chain_rules(objects, chain)
    chains = {decision.partition(" ")[2] for _protocol, _low, _high, decision in nft.dispatched(objects, chain)}
    calls = [*rules, *(rule for name in sorted(chains) for rule in nft.chain_rules(objects, name))]
    allowed = {str(rule.get("comment", "")) for rule in calls if nft.verdict(rule) == "accept"}
    named = {f"{control} {rule['name']}" for rule in planned}
    extra = sorted(name for name in allowed if name and name not in named)
    # Replies, and on engines the host's own ports.
    nameless = [
        rule
        for rule in calls
        if nft.verdict(rule) == "accept"
        and not rule.get("comment")
        and nft.matched(rule, "state") != "established"
        and nft.matched(rule, "oifname") != "lo"
    ]
    if not led:
        yield view.finding(
            control, f"way to chain {chain}", "no rule leads there", "the account's packets are judged there"
        )
    elif not rules or nft.verdict(rules[-1]) != "reject":
        yield view.finding(
            control, f"end of chain {chain}", "it does not refuse the rest", "a refusal of everything else"
        )
    elif extra or nameless:
        found = ", ".join(extra) or "a rule without a name"
        yield view.finding(control, f"rules of chain {chain}", f"{found}, which nobody planned", "planned rules only")
    else:
        yield Looked(control, f"chain {chain}, {len(rules)} rules")


def forged_sources(view: View) -> Iterator[Said]:
    """Judge whether sources of the fabric are dropped where they come in elsewhere."""
    if view.part is None or not view.part["interfaces"].get("fabric"):
        yield Absent("no interface of the fabric is planned here")
        return
    objects = in_force(view, "NET-07")
    if not isinstance(objects, list):
        yield objects  # type: ignore[misc]
        return
    rules = nft.chain_rules(objects, "forged")
    drops = [nft.matched(rule, "saddr") for rule in rules if nft.verdict(rule) == "drop"]
    if {"@from_fabric_ipv4", "@from_fabric_ipv6"} <= {str(source) for source in drops}:
        yield Looked("NET-07", "chain forged")
    else:
        yield view.finding("NET-07", "chain forged", "it does not drop sources of the fabric", "a drop for each family")
