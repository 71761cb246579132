# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy in words, the difference of two, and what one closes."""

from __future__ import annotations

import ipaddress

from ansible_collections.hardened.vllm.plugins.module_utils.firewall_policy import CALLERS, SOURCE, port_ranges

SHOWN_MEMBERS = 20


def _rule_line(listener, source):
    why = ", %s" % listener["why"] if listener["why"] else ""
    place = "on %s" % listener["interface"] if listener["interface"] else "on any interface"
    return "%s may reach %s %s %s (%s%s; %s)" % (
        source,
        listener["protocol"],
        listener["ports"],
        place,
        listener["name"],
        why,
        listener["control"],
    )


def words(policy, sysctl):
    """Return the policy as lines: one per permission, per address of a named source and per kernel setting.

    A policy of {} is none.
    """
    if not policy:
        return []
    lines = ["everything that no line below allows is dropped (NET-01)"]
    for listener in sorted(policy["listeners"], key=lambda entry: (entry["control"], entry["name"])):
        lines.extend(_rule_line(listener, source) for source in listener["from"])
        if listener.get("per_source"):
            lines.append(
                "one source (IPv6: one /64) holds at most %d connections to tcp %s (%s; NET-14)"
                % (listener["per_source"], listener["ports"], listener["name"])
            )
    for rule in policy.get("egress") or []:
        lines.append(
            "%s may call %s%s %s %s (%s, %s; %s)"
            % (
                CALLERS[rule.get("caller", "engine")],
                rule["to"],
                " except %s" % rule["except"] if rule.get("except") else "",
                rule["protocol"],
                rule["ports"],
                rule["name"],
                rule["why"],
                rule["control"],
            )
        )
    if policy.get("fabric"):
        lines.append("sources of the fabric are forged on any interface but %s (NET-07)" % policy["fabric"])
    if policy.get("operator"):
        operator = policy["operator"]
        lines.append(
            "%s may reach tcp %d on any interface (the connection this run came in on; NET-04)"
            % (operator["address"], operator["port"])
        )
    for name in sorted(policy["sets"]):
        members = policy["sets"][name]["ipv4"] + policy["sets"][name]["ipv6"]
        lines.extend("%s is %s" % (name, member) for member in members or ["nobody"])
    lines.extend("kernel setting %s = %s" % (name, sysctl[name]) for name in sorted(sysctl))
    return lines


def changes(before, after):
    """Return the difference of two word lists, `removed: ...` and `added: ...`.

    Of a source's many addresses the first few are shown, and the number of the rest.
    """
    old, new = set(before), set(after)
    return _shortened("removed", [line for line in before if line not in new]) + _shortened(
        "added", [line for line in after if line not in old]
    )


def _shortened(verb, lines):
    result = []
    members = {}
    for line in lines:
        name, separator, _address = line.partition(" is ")
        if separator and SOURCE.fullmatch(name):
            members[name] = members.get(name, 0) + 1
            if members[name] > SHOWN_MEMBERS:
                continue
        result.append("%s: %s" % (verb, line))
    return result + [
        "%s: %s is %d more" % (verb, name, count - SHOWN_MEMBERS)
        for name, count in members.items()
        if count > SHOWN_MEMBERS
    ]


def closes(policy, sockets):
    """Words for listening sockets, as the probe gives them, that no listener of the policy covers: one line per process name."""
    found = {}
    for entry in sockets:
        if ipaddress.ip_address(entry["address"]).is_loopback:
            continue
        covered = any(
            listener["protocol"] == entry["protocol"]
            and any(low <= entry["port"] <= high for low, high in port_ranges(listener["ports"]))
            for listener in policy["listeners"]
        )
        if not covered:
            names = ", ".join(sorted({process["name"] for process in entry["processes"]})) or "unknown process"
            found.setdefault(names, {}).setdefault(entry["protocol"], set()).add(entry["port"])
    return [
        "%s: %s"
        % (
            names,
            ", ".join("%s %s" % (protocol, _merged(found[names][protocol])) for protocol in sorted(found[names])),
        )
        for names in sorted(found)
    ]


def _merged(numbers):
    """{22, 8000, 8001} as `22,8000-8001`."""
    ranges = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join("%d" % low if low == high else "%d-%d" % (low, high) for low, high in ranges)
