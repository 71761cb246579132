# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for every plan, as functions that say what does not hold for this one.

They work from the declaration and the finished plan alone and share no code with the planner. An empty list is a pass.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.hardened.vllm.plugins.module_utils.firewall_common import FirewallProblem

from .firewall import Table, read, render

Plan = Mapping[str, Any]
Hosts = Mapping[str, Any]
FAMILIES = ("ipv4", "ipv6")
# Meant for others than the cluster's own engines and gateways.
OUTWARD = {"https", "ssh", "monitor", "node-exporter"}
RULE = re.compile(
    r'(?:iifname "(?P<interface>[^"]+)" )?'
    r'ip6? saddr @from_(?P<source>\S+)_(?P<family>ipv[46]) counter accept comment "[A-Z]+-[0-9]+ (?P<name>[^"]+)"'
)


def furnished(cluster: Mapping[str, Any], hosts: Hosts) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the declaration with everything beside engines: media, monitors, a service, egress, a second gateway."""
    cluster, hosts = copy.deepcopy({**cluster}), copy.deepcopy({**hosts})
    cluster["media"] = {"allowed_domains": ["media.example.org"], "resolvers": ["10.21.0.53"]}
    cluster["gateway"]["monitor_port"] = 9443
    cluster["egress"] = [{"name": "traces", "to": ["10.21.9.0/28"], "port": 4317, "why": "traces"}]
    service = {"name": "node-exporter", "port": 9100, "from": ["10.21.8.0/28"]}
    cluster["admin"]["services"] = [service]
    for name, roles, number in (("gateway2", ["gateway"], 201), ("monitor1", ["monitor"], 202)):
        addresses = {"management": [f"10.21.255.{number}"]}
        if "gateway" in roles:
            addresses |= {"fabric": [f"10.20.255.{number}", f"fd20:1::fff{number % 10}"], "edge": [f"192.0.2.{number}"]}
        hosts[name] = {"roles": roles, "node": {"addresses": addresses}}
    return cluster, hosts


def peers(cluster: Mapping[str, Any], hosts: Hosts) -> dict[str, set[str]]:
    """Return for every host those whose processes it has to talk to, itself among them."""
    stages: dict[str | None, list[str]] = {}
    for name in sorted(_with_role(hosts, "engine"), key=lambda name: int(name.removeprefix("engine"))):
        stages.setdefault(hosts[name]["node"].get("stage"), []).append(name)
    found = {name: set(hosts) for name in _with_role(hosts, "gateway")}
    for stage, members in stages.items():
        whole = len(members) if cluster["topology"] != "replicas" else 1
        size = cluster.get("engine", {}).get("nodes_per_engine") or whole
        others = {name for other, names in stages.items() if other != stage for name in names}
        for place, name in enumerate(members):
            first = place // size * size
            found[name] = {*members[first : first + size], *others}
    return found


def open_to_strangers(cluster: Mapping[str, Any], hosts: Hosts, made: Plan) -> list[str]:
    """Name the internal sockets that somebody finds open who is no peer."""
    near, found = peers(cluster, hosts), []
    gateways, engines = (_fabric(hosts, _with_role(hosts, role)) for role in ("gateway", "engine"))
    for name, part in made["hosts"].items():
        own = _fabric(hosts, near[name])
        kinds = {
            "api": gateways,
            "media": engines,
            "kv-events": set(cluster.get("events", {}).get("subscribers", ())),
            "mooncake-bootstrap": own | gateways,
        }
        for listener in part["listeners"]:
            if listener["name"] in OUTWARD and listener["network"] != "fabric":
                continue
            allowed = kinds.get(re.sub(r"-[0-9]+$", "", listener["name"]), own)
            strangers = _addresses(made, listener["from"]) - allowed
            if strangers or listener["network"] != "fabric":
                found.append(f"{name} {listener['name']} on {listener['network']}: {sorted(strangers)}")
    return found


def without_one_rule_and_row(made: Plan, rendered: Callable[[dict[str, Any]], str] = render) -> list[str]:
    """Name the listeners that have not exactly one matrix row and one set of firewall rules, and rules without one."""
    listeners = Counter((host, item["name"]) for host, part in made["hosts"].items() for item in part["listeners"])
    found = [f"{key}: planned {count} times" for key, count in listeners.items() if count != 1]
    rows = Counter((row["to"], row["listener"]) for row in made["matrix"])
    found += [f"{key}: {rows[key]} rows" for key in {*rows, *listeners} if rows[key] != 1 or key not in listeners]
    for host, part in made["hosts"].items():
        try:
            table = read(rendered({"cluster": made, "host": part}))
        except FirewallProblem as problem:
            found.append(f"{host}: {problem}")
            continue
        rules = Counter(_admissions(table))
        wanted = Counter(_wanted(part["listeners"]))
        found += [
            f"{host}: {dict(rule)} {rules[rule]} times" for rule in {*rules, *wanted} if rules[rule] != wanted[rule]
        ]
        refused = Counter(_refusals(table))
        names = Counter(item["name"] for item in part["listeners"])
        found += [f"{host} {name}: refused {refused[name]} times" for name in {*refused, *names} if refused[name] != 1]
    return sorted(found)


def _wanted(listeners: Iterable[Mapping[str, Any]]) -> Iterable[tuple[tuple[str, Any], ...]]:
    for item, family in itertools.product(listeners, FAMILIES):
        for source in item["from"]:
            fixed = {"interface": item["interface"], "protocol": item["protocol"], "ports": item["ports"]}
            yield tuple({**fixed, "source": source, "family": family, "name": item["name"]}.items())


def _led_to(table: Table, chain: str) -> Iterable[tuple[str, str, str]]:
    """Protocol, ports and rule, for every rule that the verdict maps of a chain lead to."""
    for protocol in ("tcp", "udp"):
        for ports, target in table.targets(chain, protocol).items():
            for rule in table.chains[target]:
                yield protocol, ports, rule


def _admissions(table: Table) -> Iterable[tuple[tuple[str, Any], ...]]:
    for protocol, ports, rule in _led_to(table, "input"):
        if match := RULE.fullmatch(rule):
            found = match.groupdict()
            fixed = {"interface": found.pop("interface"), "protocol": protocol, "ports": ports}
            yield tuple({**fixed, **found}.items())


def _refusals(table: Table) -> Iterable[str]:
    for _protocol, _ports, rule in _led_to(table, "published"):
        if match := re.fullmatch(r'counter goto refused comment "\S+ (\S+) refused"', rule):
            yield match[1]


def sharing_a_port(made: Plan) -> list[str]:
    """Name the pairs of listeners of one host that cannot both have their ports."""
    found = []
    for host, part in made["hosts"].items():
        taken = [(item["protocol"], item["name"], _ports(item["ports"])) for item in part["listeners"]]
        for one, other in itertools.combinations(taken, 2):
            shared = one[2] & other[2]
            if shared and one[0] == other[0]:
                found.append(f"{host}: {one[1]} and {other[1]} on {one[0]} {sorted(shared)[:3]}")
    return found


def _ports(text: str) -> set[int]:
    low, _dash, high = text.partition("-")
    return set(range(int(low), int(high or low) + 1))


def differences(one: Any, other: Any, path: str = "plan") -> list[str]:
    """Name the places where two plans differ; the order of keys counts, for it shows in what is written."""
    if isinstance(one, Mapping) and isinstance(other, Mapping) and list(one) == list(other):
        return [text for key in one for text in differences(one[key], other[key], f"{path}.{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [text for place, (left, right) in pairs for text in differences(left, right, f"{path}[{place}]")]
    same = one == other and not isinstance(one, Mapping)
    return [] if same else [path]


def changed_without_cause(before: tuple[Any, Hosts, Plan], after: tuple[Any, Hosts, Plan]) -> list[str]:
    """Name what a plan says otherwise about hosts whose peers are the same; each side is (cluster, hosts, plan)."""
    then, now = peers(*before[:2]), peers(*after[:2])
    same = [name for name in before[2]["hosts"] if then[name] == now[name]]
    found = []
    for name in same:
        found += differences(before[2]["hosts"][name], after[2]["hosts"][name], name)
        for kind in {source for item in before[2]["hosts"][name]["listeners"] for source in item["from"]}:
            found += differences(before[2]["sets"][kind], after[2]["sets"][kind], f"{name}: {kind}")
    return found


def leaks(secret: str, *texts: str) -> list[str]:
    """Show where ``secret`` stands in ``texts``, or most of it."""
    piece = secret[: max(8, len(secret) // 2)]
    return [text[max(0, text.index(piece) - 40) :][:120] for text in texts if piece in text]


def _with_role(hosts: Hosts, role: str) -> list[str]:
    return [name for name, host in hosts.items() if role in host["roles"]]


def _fabric(hosts: Hosts, names: Iterable[str]) -> set[str]:
    return {text for name in names for text in hosts[name]["node"]["addresses"].get("fabric", ())}


def _addresses(made: Plan, sources: Iterable[str]) -> set[str]:
    texts = (text for name in sources for family in FAMILIES for text in made["sets"][name][family])
    return {re.sub(r"/32$|/128$", "", text) for text in texts}
