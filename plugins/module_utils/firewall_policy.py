# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy as data: listeners and named sources, checked and asked."""

from __future__ import annotations

import ipaddress
import re

from ansible_collections.hardened.vllm.plugins.module_utils.firewall_common import FirewallProblem

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
CALLERS = {"engine": "the engine", "media": "the proxy for media"}
MOST_CONNECTIONS = 1000000
LARGEST_UID = 0xFFFFFFFE
FABRIC = "fabric"


def _problem(path, found, expected):
    return FirewallProblem("%s: found %s, expected %s." % (path, ascii(found), expected))


def port_ranges(text, path="ports"):
    """[(first, last)] of `8000` or `40000-44999,50000`; `path` names the place of a mistake."""
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
    port_ranges(listener["ports"], path + ".ports")
    why = listener.get("why") or ""
    if not isinstance(why, str) or not why.isprintable() or len(why) > 400:
        raise _problem(path + ".why", why, "printable text of at most 400 characters")
    per_source = listener.get("per_source")
    if per_source is not None:
        counted = isinstance(per_source, int) and not isinstance(per_source, bool)
        if not counted or not 1 <= per_source <= MOST_CONNECTIONS:
            raise _problem(path + ".per_source", per_source, "connections from 1 to %d, or null" % MOST_CONNECTIONS)
        if listener["protocol"] != "tcp":
            raise _problem(path + ".per_source", per_source, "null: connections are counted for tcp only")
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
        "per_source": per_source,
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


def checked_callers(callers, policy):
    """Return {caller: {uid, own_ports}}: the accounts held back. FirewallProblem names a mistake.

    `own_ports` are those that the account's processes may call on this host itself, None when there are none.
    """
    if not isinstance(callers, dict):
        raise _problem("callers", callers, "a dictionary")
    for name in sorted({rule["caller"] for rule in policy["egress"]} - set(callers)):
        raise _problem("callers", sorted(callers), "the account of %s too, for which egress has rules" % CALLERS[name])
    found = {}
    for name, account in callers.items():
        path = "callers.%s" % name
        if name not in CALLERS:
            raise _problem("callers", name, "one of %s" % ", ".join(sorted(CALLERS)))
        if not isinstance(account, dict) or set(account) - {"uid", "own_ports"}:
            raise _problem(path, account, "a dictionary with uid and own_ports")
        uid, own_ports = account.get("uid"), account.get("own_ports")
        if isinstance(uid, bool) or not isinstance(uid, int) or not 1 <= uid <= LARGEST_UID:
            raise _problem(path + ".uid", uid, "the number of an account other than root")
        if own_ports is not None:
            pattern, expected = PATTERNS["ports"]
            if not isinstance(own_ports, str) or not pattern.fullmatch(own_ports):
                raise _problem(path + ".own_ports", own_ports, expected)
            port_ranges(own_ports, path + ".own_ports")
        found[name] = {"uid": uid, "own_ports": own_ports}
    return found


def admits(policy, address, port, interface, protocol="tcp"):
    """Whether the policy lets `address` reach `port` on `interface`.

    When `interface` is None, because it is not known, only the rules for any interface count.
    """
    wanted = ipaddress.ip_address(address)
    family = "ipv%d" % wanted.version
    for listener in policy["listeners"]:
        if listener["protocol"] != protocol or listener["interface"] not in (None, interface):
            continue
        if not any(low <= port <= high for low, high in port_ranges(listener["ports"])):
            continue
        for name in listener["from"]:
            if any(wanted in ipaddress.ip_network(entry) for entry in policy["sets"][name][family]):
                return True
    return False
