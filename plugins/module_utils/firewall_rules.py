# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders a checked policy as our nftables table. Pure: every decision on packets is in this file.

The cost of a packet grows neither with listeners nor with peers: a verdict map leads from the port to a chain with the
few rules of this port, and each of these looks an address up in a set. Addresses are in sets only, apart from the
structure of the table, so that other addresses are other elements and the table itself can stay.
"""

from __future__ import annotations

import ipaddress

from ansible_collections.hardened.vllm.plugins.module_utils.firewall_common import (
    COUNTED,
    FAMILY,
    OPERATORS,
    PROLOGUE,
    TABLE,
)
from ansible_collections.hardened.vllm.plugins.module_utils.firewall_policy import port_ranges

FAMILIES = (("ipv4", "ip"), ("ipv6", "ip6"))
# Who has one address of IPv6 has its whole /64.
ONE_SOURCE = {"ipv4": "ip saddr", "ipv6": "ip6 saddr & ffff:ffff:ffff:ffff::"}
PROTOCOLS = ("tcp", "udp")
# Control and who is meant, by the caller of an egress rule.
REFUSALS = {
    "engine": ("NET-06", "the engine may not call there"),
    "media": ("NET-08", "the proxy for media may not call there"),
}
TEXT = """\
# Written by hardened.vllm.firewall; changes made here are undone by its next run.
# The first two statements make loading this file again one atomic replacement of our table. No other table is touched.
%(prologue)s
table %(family)s %(table)s {
%(sets)s
%(counted)s\
%(operators)s
%(forged)s\
    # Before the usual priority: what is dropped here is dropped whatever other tables accept. Connections that others
    # merely relate to one of ours (helpers, redirects) pass no sooner than any other packet.
    chain input {
        type filter hook input priority filter - 10; policy drop;
        ct state vmap { established : accept, invalid : drop }
        iifname "lo" accept
        meta l4proto { icmp, icmpv6 } jump control_messages
        ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept comment "DHCPv6 answers"
        ip saddr . tcp dport @operator_ipv4 counter accept comment "NET-04 live connection"
        ip6 saddr . tcp dport @operator_ipv6 counter accept comment "NET-04 live connection"
%(listeners)s\
        goto refused
    }

    # What paths need: errors, path MTU, neighbours (hop limit 255 proves that they come from the link), a few pings.
    chain control_messages {
        icmp type { destination-unreachable, time-exceeded, parameter-problem } accept
        icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept
        ip6 hoplimit 255 icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
        ip6 saddr fe80::/10 icmpv6 type { mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } accept
        icmp type echo-request limit rate %(ping)d/second burst 50 packets accept
        icmpv6 type echo-request limit rate %(ping)d/second burst 50 packets accept
    }

    # Packets to a container published on a planned port never see the input chain: they are redirected before it. So the planned
    # ports of this host's own addresses are decided before the redirection, whatever the interface.
    chain published {
        type filter hook prerouting priority dstnat - 10; policy accept;
        ct state established accept
        iifname "lo" accept
        fib daddr type != local accept
        ip saddr . tcp dport @operator_ipv4 accept
        ip6 saddr . tcp dport @operator_ipv6 accept
%(published)s\
    }

%(output)s\
    chain refused {
        limit rate %(log)d/minute burst 10 packets log prefix "hardened-vllm NET-01 drop: "
        counter drop comment "NET-01 nothing allows it"
    }
%(too_many)s\
%(chains)s\
}
"""
FORGED = """\
    # A source of the fabric comes in over the fabric; elsewhere it is forged, whatever connection it says to belong to.
    chain forged {
        type filter hook prerouting priority raw; policy accept;
        iifname { "lo", "%s" } accept
        ip saddr @from_fabric_ipv4 counter drop comment "NET-07 forged fabric source"
        ip6 saddr @from_fabric_ipv6 counter drop comment "NET-07 forged fabric source"
    }

"""
OUTPUT = """\
    # Only these accounts: packets of the kernel and of everybody else pass.
    chain output {
        type filter hook output priority filter - 10; policy accept;
%s\
    }

"""
# The kernel forgets a source whose last connection has ended. Where the set is full, further sources are not limited: who
# can fill it has that many addresses or forges them, and refusing everybody else would be the harm itself.
COUNTED_SET = """\
    set %s%s_%s {
        type %s_addr
        size 65535
        flags dynamic
    }

"""
TOO_MANY = """\

    # Told at once: a client that waits for an answer would hold its connections only longer.
    chain too_many {
        limit rate %d/minute burst 10 packets log prefix "hardened-vllm NET-14 refused: "
        counter reject with tcp reset comment "NET-14 more connections than one source may hold"
    }
"""
# Judges the address a connection is made to, whatever the name was when the caller looked it up.
CALLER = """\
    chain %(caller)s_egress {
        ct state established accept
%(calls)s\
        limit rate %(log)d/minute burst 10 packets log prefix "hardened-vllm %(control)s refused: "
        meta l4proto tcp counter reject with tcp reset comment "%(control)s %(words)s"
        counter reject with icmpx admin-prohibited comment "%(control)s %(words)s"
    }

"""


class Rules:
    """A rendered table.

    ``structure`` is the text without elements, ``elements`` is {set: [element]}, each sorted and without overlaps.
    """

    def __init__(self, structure, elements):
        self.structure = structure
        self.elements = elements

    def text(self):
        """Return the text that replaces our table by this one in a transaction."""
        return self.structure + self.update({})

    def update(self, before):
        """Return the transaction from the elements ``before`` ({set: [element]}) to these; empty when they are alike.

        It holds for a table of the same structure only.
        """
        removed, added = [], []
        for name in sorted(self.elements):
            removed.append(_elements("delete", name, before.get(name, []), self.elements[name]))
            added.append(_elements("add", name, self.elements[name], before.get(name, [])))
        return "".join(removed + added)


def _elements(verb, name, some, others):
    """Return the statement on what is in `some` and not in `others`."""
    without = set(others)
    entries = [entry for entry in some if entry not in without]
    if not entries:
        return ""
    return "%s element %s %s %s { %s }\n" % (verb, FAMILY, TABLE, name, ", ".join(entries))


def render(policy, callers, log_per_minute, ping_per_second):
    """Return the Rules of a policy as ``firewall_policy.checked`` and ``checked_callers`` give it.

    `policy` may hold `operator`, {address, port} of the live connection.
    """
    listeners, chains = _by_port(policy["listeners"], "input", _admission)
    published, decided = _by_port(policy["listeners"], "published", _redirection, _refusal)
    output, calls = _output(policy["egress"], callers, log_per_minute)
    limited = [listener["name"] for listener in policy["listeners"] if listener["per_source"]]
    structure = TEXT % {
        "prologue": PROLOGUE,
        "operators": OPERATORS,
        "family": FAMILY,
        "table": TABLE,
        "sets": "".join(
            set_of(name, family, policy["sets"][name][family])
            for name in sorted(policy["sets"])
            for family, _word in FAMILIES
        ),
        "counted": "".join(
            COUNTED_SET % (COUNTED, name, family, family) for name in limited for family, _word in FAMILIES
        ),
        "too_many": TOO_MANY % log_per_minute if limited else "",
        "forged": FORGED % policy["fabric"] if policy["fabric"] else "",
        "listeners": listeners,
        "published": published,
        "output": output,
        "chains": chains + decided + calls,
        "log": log_per_minute,
        "ping": ping_per_second,
    }
    return Rules(structure, all_elements(policy))


def set_of(name, family, members):
    """Return the declaration of the set of a source, without its elements."""
    # Plain addresses are looked up by hash, whatever their number; networks need a tree.
    flags = "        flags interval\n" if any("/" in member for member in members) else ""
    return "    set from_%s_%s {\n        type %s_addr\n%s    }\n\n" % (name, family, family, flags)


def all_elements(policy):
    """Return {set: [element]} of a policy, the live connection's among them."""
    found = {
        "from_%s_%s" % (name, family): disjoint(entries)
        for name, source in policy["sets"].items()
        for family, entries in source.items()
    }
    operator = policy.get("operator")
    for family, _word in FAMILIES:
        found["operator_" + family] = []
    if operator:
        family = "ipv%d" % ipaddress.ip_address(operator["address"]).version
        found["operator_" + family] = ["%s . %d" % (operator["address"], operator["port"])]
    return found


def disjoint(entries):
    """Return addresses and networks of one family, sorted, without those that lie within another one."""
    kept = []
    # A network sorts before what it holds.
    for network in sorted({ipaddress.ip_network(entry) for entry in entries}):
        if not kept or not network.subnet_of(kept[-1]):
            kept.append(network)
    return [str(entry if entry.num_addresses > 1 else entry.network_address) for entry in kept]


def by_port(entries):
    """[([(first, last)], [entry])] of what shares ports: the ports are cut where other entries apply; in the order of ports.

    `entries` are listeners or calls, of one protocol.
    """
    ranges = [
        (first, last, place) for place, entry in enumerate(entries) for first, last in port_ranges(entry["ports"])
    ]
    cuts = sorted({first for first, _last, _place in ranges} | {last + 1 for _first, last, _place in ranges})
    found = {}
    for index, first in enumerate(cuts[:-1]):
        after = cuts[index + 1]
        places = tuple(sorted({place for low, high, place in ranges if low <= first and after - 1 <= high}))
        if not places:
            continue
        pieces = found.setdefault(places, [])
        if pieces and pieces[-1][1] == first - 1:
            first = pieces.pop()[0]
        pieces.append((first, after - 1))
    return [(pieces, [entries[place] for place in places]) for places, pieces in found.items()]


def _by_port(entries, prefix, rules_of, last_of=None):
    """Return the rules with the verdict maps, and the chains they lead to; `last_of` makes the last rule of such a chain."""
    lead, chains = "", ""
    for protocol in PROTOCOLS:
        shared = by_port([entry for entry in entries if entry["protocol"] == protocol])
        targets = []
        for pieces, several in shared:
            chain = "%s_%s_%d" % (prefix, protocol, pieces[0][0])
            targets.extend("%s : jump %s" % (_piece(piece), chain) for piece in pieces)
            lines = [line for entry in several for line in rules_of(entry)]
            if last_of is not None:
                lines.append(last_of(several[0]))
            chains += "\n    chain %s {\n%s    }\n" % (chain, _indented(lines))
        if targets:
            lead += _indented(["%s dport vmap { %s }" % (protocol, ", ".join(targets))])
    return lead, chains


def _indented(lines):
    return "".join("        %s\n" % line for line in lines)


def _piece(piece):
    return "%d" % piece[0] if piece[0] == piece[1] else "%d-%d" % piece


def _sources(listener, verdict):
    place = 'iifname "%s" ' % listener["interface"] if listener["interface"] else ""
    for name in listener["from"]:
        for family, word in FAMILIES:
            yield "%s%s saddr @from_%s_%s %s" % (place, word, name, family, verdict)


def _admission(listener):
    if listener["per_source"]:
        yield from _shares(listener)
    yield from _sources(listener, 'counter accept comment "%s %s"' % (listener["control"], listener["name"]))


def _shares(listener):
    """Yield the rules that refuse an opening (never a packet of a stream) of a source that holds too many connections."""
    place = 'iifname "%s" ' % listener["interface"] if listener["interface"] else ""
    for name in listener["from"]:
        for family, word in FAMILIES:
            yield (
                "%s%s saddr @from_%s_%s tcp flags syn / fin,syn,rst,ack add @%s%s_%s { %s ct count over %d } "
                'counter goto too_many comment "NET-14 %s"'
            ) % (
                place,
                word,
                name,
                family,
                COUNTED,
                listener["name"],
                family,
                ONE_SOURCE[family],
                listener["per_source"],
                listener["name"],
            )


def _redirection(listener):
    return _sources(listener, "accept")


def _refusal(listener):
    return 'counter goto refused comment "%s %s refused"' % (listener["control"], listener["name"])


def _call(rule):
    for family, word in FAMILIES:
        unless = ""
        if rule["except"] is not None:
            unless = " %s daddr != @from_%s_%s fib daddr type != local" % (word, rule["except"], family)
        yield '%s daddr @from_%s_%s%s counter accept comment "%s %s"' % (
            word,
            rule["to"],
            family,
            unless,
            rule["control"],
            rule["name"],
        )


def _output(rules, callers, log_per_minute):
    """Return the chains of the callers, and the chains by port these lead to; both empty without callers."""
    accounts, judged, chains = [], "", ""
    for caller in sorted(callers):
        account = callers[caller]
        accounts.append("meta skuid %d goto %s_egress" % (account["uid"], caller))
        lead, more = _by_port([rule for rule in rules if rule["caller"] == caller], caller, _call)
        if account["own_ports"] is not None:
            # Processes of an engine talk to each other over the host's own addresses; other services of the host are
            # not theirs.
            own = ", ".join(_piece(piece) for piece in port_ranges(account["own_ports"]))
            lead = _indented(['oifname "lo" meta l4proto { tcp, udp } th dport { %s } accept' % own]) + lead
        control, words = REFUSALS[caller]
        judged += CALLER % {"caller": caller, "calls": lead, "log": log_per_minute, "control": control, "words": words}
        chains += more
    return (OUTPUT % _indented(accounts) if accounts else "") + judged, chains
