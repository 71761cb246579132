# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy as data: listeners and named sources, checked, compared and put into words."""

from __future__ import annotations

import ipaddress
import re

from ansible_collections.hardened.vllm.plugins.module_utils.firewall_text import FirewallProblem

PATTERNS = {
    "name": (
        re.compile(r"[a-z0-9][a-z0-9._-]{0,47}"),
        "lower case letters, digits, dots, dashes and underscores, at most 48",
    ),
    "protocol": (re.compile(r"tcp|udp"), "tcp or udp"),
    "control": (re.compile(r"[A-Z]{2,8}-[0-9]{2,3}"), "a control's id such as NET-02"),
    "ports": (
        re.compile(r"[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*"),
        "a port, a range such as 40000-44999, or several with commas",
    ),
    # The kernel's own limit; without blanks, slashes, quotes, and without the star that nftables reads as a wildcard.
    "interface": (re.compile(r"[A-Za-z0-9_.:@-]{1,15}"), "a network interface's name"),
}
SOURCE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
SHOWN_MEMBERS = 20
CALLERS = {"engine": "the engine", "media": "the proxy for media"}
FABRIC = "fabric"


def _problem(path, found, expected):
    return FirewallProblem("%s: found %s, expected %s." % (path, ascii(found), expected))


def _ports(text, path):
    """[(first, last)] of `8000` or `40000-44999,50000`."""
    ranges = []
    for part in text.split(","):
        first, _sep, last = part.partition("-")
        low, high = int(first), int(last or first)
        if not 1 <= low <= high <= 65535:
            raise _problem(path, part, "ports from 1 to 65535, the lower one first")
        ranges.append((low, high))
    return ranges


def _checked_listener(listener, index, sets, kind="listeners"):
    path = "%s[%d]" % (kind, index)
    if not isinstance(listener, dict):
        raise _problem(path, listener, "a dictionary")
    for key in ("name", "protocol", "control", "ports", "interface"):
        value = listener.get(key)
        if key == "interface" and value is None:
            continue
        pattern, expected = PATTERNS[key]
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise _problem("%s.%s" % (path, key), value, expected)
    _ports(listener["ports"], path + ".ports")
    why = listener.get("why") or ""
    if not isinstance(why, str) or not why.isprintable() or len(why) > 400:
        raise _problem(path + ".why", why, "printable text of at most 400 characters")
    sources = listener.get("from")
    if not isinstance(sources, list):
        raise _problem(path + ".from", sources, "a list of names from sets")
    for name in sources:
        if name not in sets:
            raise _problem(path + ".from", name, "one of the sets: %s" % ", ".join(sorted(sets)))
    return {
        "name": listener["name"],
        "protocol": listener["protocol"],
        "control": listener["control"],
        "why": why,
        "ports": listener["ports"],
        "interface": listener.get("interface"),
        "from": list(sources),
    }


def _checked_set(name, value):
    path = "sets.%s" % name
    if not isinstance(name, str) or not SOURCE.fullmatch(name):
        raise _problem("sets", name, "names of lower case letters, digits, dots, dashes and underscores, at most 64")
    if not isinstance(value, dict) or set(value) - {"ipv4", "ipv6"}:
        raise _problem(path, value, "a dictionary with ipv4 and ipv6")
    result = {}
    for family, version in (("ipv4", 4), ("ipv6", 6)):
        entries = value.get(family) or []
        if not isinstance(entries, list):
            raise _problem("%s.%s" % (path, family), entries, "a list of addresses")
        networks = []
        for entry in entries:
            try:
                network = ipaddress.ip_network(entry if isinstance(entry, str) else None)
            except ValueError:
                network = None
            # Only ASCII digits: Python also reads other scripts' digits, nftables does not.
            if network is None or network.version != version or not entry.isascii() or "%" in entry:
                raise _problem(
                    "%s.%s" % (path, family),
                    entry,
                    "an %s address or network without host bits" % family.replace("ip", "IP"),
                )
            networks.append(str(network) if network.num_addresses > 1 else str(network.network_address))
        result[family] = sorted(set(networks), key=ipaddress.ip_network)
    return result


def _checked_call(rule, index, sets):
    path = "egress[%d]" % index
    if not isinstance(rule, dict):
        raise _problem(path, rule, "a dictionary")
    caller, excepted = rule.get("caller", "engine"), rule.get("except")
    if caller not in CALLERS:
        raise _problem(path + ".caller", caller, "one of %s" % ", ".join(sorted(CALLERS)))
    names = [rule.get("to")] if excepted is None else [rule.get("to"), excepted]
    found = _checked_listener({**rule, "from": names, "interface": None}, index, sets, "egress")
    return {
        "caller": caller,
        "to": names[0],
        "except": excepted,
        **{key: found[key] for key in ("name", "protocol", "control", "why", "ports")},
    }


def checked(listeners, sets, egress=(), fabric=None):
    """Return the policy {listeners, sets, egress, fabric}: canonical addresses, only sets in use.

    `fabric` is the one interface on which the sources of the set of that name come in, None when it is not known.

    FirewallProblem names a mistake.
    """
    if not isinstance(sets, dict):
        raise _problem("sets", sets, "a dictionary")
    canonical = {name: _checked_set(name, value) for name, value in sets.items()}
    found = [_checked_listener(listener, index, canonical) for index, listener in enumerate(listeners)]
    names = [listener["name"] for listener in found]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise _problem("listeners[%d].name" % index, name, "a name that no other listener of this host has")
    calls = [_checked_call(rule, index, canonical) for index, rule in enumerate(egress)]
    used = {name for listener in found for name in listener["from"]} | {rule["to"] for rule in calls}
    used |= {rule["except"] for rule in calls if rule["except"] is not None}
    if fabric is not None:
        pattern, expected = PATTERNS["interface"]
        if not pattern.fullmatch(fabric):
            raise _problem("fabric", fabric, expected)
        if FABRIC not in canonical:
            raise _problem("sets", sorted(sets), "a set %s, because the fabric's interface is given" % FABRIC)
        used.add(FABRIC)
    return {
        "listeners": found,
        "egress": calls,
        "fabric": fabric,
        "sets": {name: canonical[name] for name in sorted(used)},
    }


def admits(policy, address, port, interface, protocol="tcp"):
    """Whether the policy lets `address` reach `port` on `interface`.

    When `interface` is None, because it is not known, only the rules for any interface count.
    """
    wanted = ipaddress.ip_address(address)
    family = "ipv%d" % wanted.version
    for listener in policy["listeners"]:
        if listener["protocol"] != protocol or listener["interface"] not in (None, interface):
            continue
        if not any(low <= port <= high for low, high in _ports(listener["ports"], "ports")):
            continue
        for name in listener["from"]:
            if any(wanted in ipaddress.ip_network(entry) for entry in policy["sets"][name][family]):
                return True
    return False


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
            and any(low <= entry["port"] <= high for low, high in _ports(listener["ports"], "ports"))
            for listener in policy["listeners"]
        )
        if not covered:
            names = ", ".join(sorted({process["name"] for process in entry["processes"]})) or "unknown process"
            found.setdefault(names, {}).setdefault(entry["protocol"], set()).add(entry["port"])
    return [
        "%s: %s"
        % (
            names,
            ", ".join("%s %s" % (protocol, _port_ranges(found[names][protocol])) for protocol in sorted(found[names])),
        )
        for names in sorted(found)
    ]


def _port_ranges(numbers):
    """{22, 8000, 8001} as `22,8000-8001`."""
    ranges = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join("%d" % low if low == high else "%d-%d" % (low, high) for low, high in ranges)
