# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The packet filter in force against the plan, and what others put beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...planning.firewalls import FIRST_REDIRECTION
from ...problems import Severity
from ..view import Absent, Looked, Said, Unchecked, View, common_ports
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
            nft.port_text({"set": [_range(part) for part in listener["ports"].split(",")]}),
            f"@from_{name}_{family}",
            f"{listener['control']} {listener['name']}",
        )
        for listener in view.listeners()
        for name in listener["from"]
        for family in ("ipv4", "ipv6")
    }


def _range(text: str) -> Any:
    low, dash, high = text.strip().partition("-")
    return {"range": [int(low), int(high)]} if dash else int(low)


def _allowances(objects: nft.Objects) -> set[Allowance]:
    """Return whom the chains accept that the ports of the chain input lead to."""
    spans: dict[tuple[str, str, str, str], list[tuple[int, int]]] = {}
    for protocol, low, high, decision in nft.dispatched(objects, "input"):
        for rule in nft.chain_rules(objects, decision.partition(" ")[2]):
            if nft.verdict(rule) == "accept":
                source = str(nft.matched(rule, "saddr") or "")
                interface = str(nft.matched(rule, "iifname") or "")
                key = (interface, protocol, source, str(rule.get("comment", "no comment")))
                spans.setdefault(key, []).append((low, high))
    return {
        (interface, protocol, ",".join(_span(pair) for pair in nft.merged(pairs)), source, comment)
        for (interface, protocol, source, comment), pairs in spans.items()
    }


def _span(pair: tuple[int, int]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}-{pair[1]}"


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
        ports = nft.port_text(nft.matched(rule, "dport"))
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
            what = f"{protocol} {_span((low, high))}"
            yield f"chain input, {what}", f"{what} is {decision or 'led elsewhere'}", "a chain of planned sources", []


# What a rule of a chain of planned sources may do; the last refuses.
_JUDGES = ("accept", "", "goto too_many")
# Where packets go that no port leads anywhere.
_LEADS = ("jump control_messages", "goto refused")


def _known(rule: Mapping[str, Any]) -> bool:
    """Whether a rule is one of those every table of ours has."""
    live = rule.get("comment") == "NET-04 live connection" and nft.compared(rule) in (
        "@operator_ipv4",
        "@operator_ipv6",
    )
    return nft.matched(rule, "iifname") == "lo" or live or rule.get("comment") == "DHCPv6 answers"


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
    nameless = [rule for rule in calls if nft.verdict(rule) == "accept" and not rule.get("comment")]
    # Replies, and on engines the host's own ports.
    if not led:
        yield view.finding(
            control, f"way to chain {chain}", "no rule leads there", "the account's packets are judged there"
        )
    elif not rules or nft.verdict(rules[-1]) != "reject":
        yield view.finding(
            control, f"end of chain {chain}", "it does not refuse the rest", "a refusal of everything else"
        )
    elif extra or len(nameless) > 2:
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


def foreign_firewall(view: View) -> Iterator[Said]:
    """Judge whether no other table redirects packets before ours, or publishes ports past it."""
    evidence = view.known("nftables")
    if isinstance(evidence, Unchecked):
        yield evidence
        return
    objects = evidence["nftables"] or []
    planned = ",".join(str(listener["ports"]) for listener in view.listeners())
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
    for place, port in _published(objects):
        if common_ports(port, planned):
            continue  # decided before the redirection
        yield view.finding(
            "NET-10",
            f"tcp {port} by {place}",
            f"tcp {port} redirected past the firewall",
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


def _published(objects: nft.Objects) -> Iterator[tuple[str, str]]:
    for entry in objects:
        rule = entry.get("rule")
        if rule is None or (rule["family"], rule["table"]) == nft.OWN or nft.verdict(rule) not in ("dnat", "redirect"):
            continue
        if _local_only(nft.matched(rule, "daddr")):
            continue
        ports = nft.port_text(nft.matched(rule, "dport"), objects, rule)
        if ports and nft.matched(rule, "oifname") != "lo":
            yield f"chain {rule['chain']} of table {rule['family']} {rule['table']}", ports


def _local_only(target: Any) -> bool:
    prefix = target.get("prefix") if isinstance(target, Mapping) else None
    address = prefix.get("addr") if isinstance(prefix, Mapping) else target
    return isinstance(address, str) and (address.startswith("127.") or address == "::1")
