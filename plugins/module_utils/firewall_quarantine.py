# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders the table of a host in quarantine: administrators alone reach it, and it reaches nobody."""

from __future__ import annotations

from ansible_collections.hardened.vllm.plugins.module_utils.firewall_common import FAMILY, OPERATORS, PROLOGUE, TABLE
from ansible_collections.hardened.vllm.plugins.module_utils.firewall_rules import FAMILIES, Rules, all_elements, set_of

TEXT = """\
# Written by hardened.vllm.firewall: this host is in quarantine. Only administrators reach it, and it reaches nobody.
%(prologue)s
table %(family)s %(table)s {
%(sets)s
%(operators)s
    # Streams that were open before end here: "established" opens nothing.
    chain input {
        type filter hook input priority filter - 10; policy drop;
        iifname "lo" accept
        ip6 hoplimit 255 icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
        icmp type destination-unreachable accept
        icmpv6 type packet-too-big accept
        udp sport 67 udp dport 68 accept comment "DHCP answers"
        ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept comment "DHCPv6 answers"
        ip saddr . tcp dport @operator_ipv4 counter accept comment "NET-04 live connection"
        ip6 saddr . tcp dport @operator_ipv6 counter accept comment "NET-04 live connection"
%(doors)s\
        limit rate %(log)d/minute burst 10 packets log prefix "hardened-vllm NET-01 quarantine: "
        counter drop comment "NET-01 quarantine"
    }

    # Answers to administrators, and what keeps the host's addresses.
    chain output {
        type filter hook output priority filter - 10; policy drop;
        oifname "lo" accept
        icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept
        udp sport 68 udp dport 67 accept comment "DHCP"
        ip6 daddr { fe80::/10, ff02::1:2 } udp sport 546 udp dport 547 accept comment "DHCPv6"
        ct direction reply ip daddr . tcp sport @operator_ipv4 accept
        ct direction reply ip6 daddr . tcp sport @operator_ipv6 accept
%(answers)s\
        counter reject with icmpx admin-prohibited comment "NET-01 quarantine"
    }

    # Containers are no way around it.
    chain forward {
        type filter hook forward priority filter - 10; policy drop;
    }
}
"""


def render(policy, log_per_minute):
    """Return the Rules of a policy whose listeners are the doors that stay open; its calls do not count.

    `policy` may hold `operator`, {address, port} of the live connection.
    """
    used = {name for door in policy["listeners"] for name in door["from"]}
    policy = {**policy, "sets": {name: policy["sets"][name] for name in sorted(used)}}
    structure = TEXT % {
        "prologue": PROLOGUE,
        "operators": OPERATORS,
        "family": FAMILY,
        "table": TABLE,
        "sets": "".join(
            set_of(name, family, source[family])
            for name, source in policy["sets"].items()
            for family, _word in FAMILIES
        ),
        "doors": _lines(policy["listeners"], _door),
        "answers": _lines(policy["listeners"], _answer),
        "log": log_per_minute,
    }
    return Rules(structure, all_elements(policy))


def _lines(doors, rule_of):
    return "".join(
        "        %s\n" % rule_of(door, word, "from_%s_%s" % (name, family))
        for door in doors
        for name in door["from"]
        for family, word in FAMILIES
    )


def _door(door, word, source):
    place = 'iifname "%s" ' % door["interface"] if door["interface"] else ""
    meant = (door["protocol"], door["ports"], word, source, door["control"], door["name"])
    return place + '%s dport { %s } %s saddr @%s counter accept comment "%s %s"' % meant


def _answer(door, word, source):
    return "ct direction reply %s sport { %s } %s daddr @%s accept" % (door["protocol"], door["ports"], word, source)
