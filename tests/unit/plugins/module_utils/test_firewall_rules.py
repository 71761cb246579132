# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a declaration holds, it is refused or the rules say exactly what the data says; other addresses are an update."""

from __future__ import annotations

import datetime
import ipaddress
import re
import subprocess
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import firewall_kernel, firewall_policy, firewall_rules
from ansible_collections.hardened.vllm.plugins.module_utils.firewall_common import FirewallProblem
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from support.firewall import Table, nft_is_usable, policy_of, read, render, rules_of
from support.topologies import TOPOLOGIES, declaration

TODAY = datetime.date(2026, 11, 23)
MEDIA = {"allowed_domains": ["images.example.org"], "resolvers": ["10.21.0.53", "fd21::53"]}
INJECTIONS = [
    'x" accept',
    "x\n        accept",
    "x }\n flush ruleset\n",
    "0.0.0.0/0 } ; accept",
    '8000 } accept comment "',
    "8000 : accept, 9000",
    "eth*",
    "$x",
    "@operator_ipv4",
    "x\\",
    "x # y",
    "%(prologue)s",
    "%s",
    "{{ 7 * 7 }}",
    "x\u2028y",
    "\x00",
]
needs_nft = pytest.mark.skipif(not nft_is_usable(), reason="nft loads rules for root in a network namespace only")

hostile = st.one_of(st.sampled_from(INJECTIONS), st.text(max_size=20))


def mostly(valid: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Hostile now and then: a plan with a mistake everywhere would always be refused at the first."""
    return st.integers(0, 15).flatmap(lambda number: hostile if number == 15 else valid)


name = mostly(st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,20}\Z"))
ports = mostly(
    st.one_of(
        st.integers(1, 65535).map(str), st.sampled_from(["40000-44999", "80,443,9000-9010", "1-65535", "9005-9020"])
    )
)
interface = mostly(st.sampled_from([None, "eth0", "bond0.100", "enp1s0f0np0"]))
ipv4 = mostly(st.one_of(st.ip_addresses(v=4).map(str), st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0"])))
ipv6 = mostly(st.one_of(st.ip_addresses(v=6).map(str), st.sampled_from(["fd00::/8", "fd00:1::/32", "::/0"])))
protocol = mostly(st.sampled_from(["tcp", "udp"]))
sets = st.dictionaries(
    name, st.fixed_dictionaries({"ipv4": st.lists(ipv4, max_size=3), "ipv6": st.lists(ipv6, max_size=3)}), max_size=3
)


def calls(sources: dict[str, Any], caller: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    chosen = st.sampled_from(sorted(sources)) if sources else name
    rule = {
        "name": name,
        "caller": mostly(st.just(caller)),
        "protocol": protocol,
        "ports": ports,
        "control": mostly(st.just("NET-06")),
        "why": st.text(max_size=30),
        "to": chosen,
        "except": mostly(st.one_of(st.none(), chosen)),
    }
    return st.lists(st.fixed_dictionaries(rule), max_size=2)


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    sources = draw(sets)
    chosen = st.lists(st.sampled_from(sorted(sources)), max_size=2, unique=True) if sources else st.just([])
    listener = {
        "name": name,
        "protocol": protocol,
        "ports": ports,
        "interface": interface,
        "control": mostly(st.sampled_from(["NET-02", "NET-03"])),
        "why": st.text(max_size=30),
        "from": chosen,
        "per_source": mostly(st.sampled_from([None, None, 1, 1024, 1000000])),
    }
    egress = media = None
    if draw(st.booleans()):
        egress = {"own_ports": draw(ports), "rules": draw(calls(sources, "engine"))}
    if draw(st.booleans()):
        media = {"rules": draw(calls(sources, "media"))}
    fabric = draw(interface)
    if fabric is not None:
        sources["fabric"] = {"ipv4": [draw(ipv4)], "ipv6": []}
    listeners = draw(st.lists(st.fixed_dictionaries(listener), max_size=3))
    return {
        "cluster": {"sets": sources},
        "host": {"interfaces": {"fabric": fabric}, "listeners": listeners, "egress": egress, "media": media},
    }


def led_to(table: Table, chain: str, protocol: str, port: int) -> list[str]:
    """Rules of the chain that the verdict map of `chain` leads a port to."""
    for pieces, target in table.targets(chain, protocol).items():
        first, _dash, last = pieces.partition("-")
        if int(first) <= port <= int(last or first):
            return table.chains[target]
    return []


def admissions(policy: dict[str, Any], protocol: str, port: int, ending: str) -> list[str]:
    """What the policy admits to a port, as rules; `ending` with the places control and name."""
    return [
        (f'iifname "{one["interface"]}" ' if one["interface"] else "")
        + f"{word} saddr @from_{source}_{family} "
        + ending.format(**one)
        for one in policy["listeners"]
        if one["protocol"] == protocol
        and any(first <= port <= last for first, last in firewall_policy.port_ranges(one["ports"]))
        for source in one["from"]
        for family, word in (("ipv4", "ip"), ("ipv6", "ip6"))
    ]


def shares(policy: dict[str, Any], protocol: str, port: int) -> list[str]:
    """What is counted before it is let in to a port, as rules."""
    return [
        (f'iifname "{one["interface"]}" ' if one["interface"] else "")
        + f"{word} saddr @from_{source}_{family} tcp flags syn / fin,syn,rst,ack add @held_{one['name']}_{family} "
        + f"{{ {whom} ct count over {one['per_source']} }} "
        + f'counter goto too_many comment "NET-14 {one["name"]}"'
        for one in policy["listeners"]
        if one["protocol"] == protocol
        and one["per_source"] is not None
        and any(first <= port <= last for first, last in firewall_policy.port_ranges(one["ports"]))
        for source in one["from"]
        for family, word, whom in (
            ("ipv4", "ip", "ip saddr"),
            ("ipv6", "ip6", "ip6 saddr & ffff:ffff:ffff:ffff::"),
        )
    ]


def permissions(policy: dict[str, Any], caller: str, protocol: str, port: int) -> list[str]:
    return [
        f"{word} daddr @from_{rule['to']}_{family} "
        + (f"{word} daddr != @from_{rule['except']}_{family} fib daddr type != local " if rule["except"] else "")
        + f'counter accept comment "{rule["control"]} {rule["name"]}"'
        for rule in policy["egress"]
        if (rule["caller"], rule["protocol"]) == (caller, protocol)
        and any(first <= port <= last for first, last in firewall_policy.port_ranges(rule["ports"]))
        for family, word in (("ipv4", "ip"), ("ipv6", "ip6"))
    ]


def edges(entries: list[dict[str, Any]]) -> set[int]:
    """Every port at which something begins or ends, and its neighbours."""
    found = {1, 65535}
    for entry in entries:
        for first, last in firewall_policy.port_ranges(entry["ports"]):
            found |= {first - 1, first, last, last + 1}
    return {port for port in found if 1 <= port <= 65535}


def agrees(table: Table, policy: dict[str, Any], callers: dict[str, Any]) -> None:
    """The text opens to each port exactly what the policy says."""
    for protocol in ("tcp", "udp"):
        for port in edges(policy["listeners"]):
            counted = 'counter accept comment "{control} {name}"'
            found = led_to(table, "input", protocol, port)
            assert [rule for rule in found if "too_many" not in rule] == admissions(policy, protocol, port, counted)
            assert {rule for rule in found if "too_many" in rule} == set(shares(policy, protocol, port))
            decided = led_to(table, "published", protocol, port)
            listed = any(
                one["protocol"] == protocol
                and any(first <= port <= last for first, last in firewall_policy.port_ranges(one["ports"]))
                for one in policy["listeners"]
            )
            assert bool(decided) == listed
            assert decided[:-1] == admissions(policy, protocol, port, "accept")
            assert not decided or re.fullmatch(
                r'counter goto refused comment "[A-Z]+-[0-9]+ [a-z0-9._-]+ refused"', decided[-1]
            )
        for caller in callers:
            for port in edges(policy["egress"]):
                assert led_to(table, f"{caller}_egress", protocol, port) == permissions(policy, caller, protocol, port)
    for found, entries in table.elements.items():
        family = "ipv6" if found.endswith("ipv6") else "ipv4"
        source = policy["sets"][re.fullmatch(r"from_(.*)_ipv[46]", found).group(1)][family]  # type: ignore[union-attr]
        networks = [ipaddress.ip_network(entry) for entry in entries]
        assert list(ipaddress.collapse_addresses(networks)) == list(
            ipaddress.collapse_addresses(map(ipaddress.ip_network, source))
        )
        assert not any(one.overlaps(other) for one in networks for other in networks if one is not other)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(plans())
def test_no_declared_text_becomes_syntax(drawn: dict[str, Any]) -> None:
    try:
        policy, callers = policy_of(drawn)
    except FirewallProblem:
        event("refused")
        return
    event("rendered")
    table = read(render(drawn))
    agrees(table, policy, callers)
    prefixes = ("input_", "published_", "engine_tcp", "engine_udp", "media_tcp", "media_udp")
    fixed = {found for found in table.chains if not found.startswith(prefixes)}
    expected = {"input", "control_messages", "published", "refused"} | {f"{caller}_egress" for caller in callers}
    expected |= {"forged"} if policy["fabric"] else set()
    expected |= {"too_many"} if any(one["per_source"] for one in policy["listeners"]) else set()
    assert fixed == expected | ({"output"} if callers else set())


@needs_nft
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(plans())
def test_nft_takes_what_was_not_refused(drawn: dict[str, Any]) -> None:
    try:
        text = render(drawn)
    except FirewallProblem:
        return
    checked(text)


def checked(text: str) -> None:
    """Have nft check a text in a network namespace of its own."""
    done = subprocess.run(
        ["unshare", "--net", "nft", "--check", "--file", "-"], input=text, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr + text


members = st.fixed_dictionaries(
    {
        "ipv4": st.lists(
            st.one_of(
                st.integers(0, 40).map(lambda number: f"10.0.0.{number}"),
                st.sampled_from(["10.0.0.0/29", "10.0.0.0/30", "10.0.0.8/31", "10.0.0.0/24", "0.0.0.0/0"]),
            ),
            max_size=12,
        ),
        "ipv6": st.lists(
            st.one_of(
                st.integers(0, 20).map(lambda number: f"fd00::{number:x}"),
                st.sampled_from(["fd00::/125", "fd00::/64", "::/0"]),
            ),
            max_size=8,
        ),
    }
)


@needs_nft
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(members, members)
def test_an_update_ends_as_a_replacement_does(before: dict[str, list[str]], after: dict[str, list[str]]) -> None:
    given_plan = safe_plan()
    given_plan["cluster"]["sets"]["a"] = before
    old = rules_of(given_plan)
    given_plan["cluster"]["sets"]["a"] = after
    new = rules_of(given_plan)
    if old.structure != new.structure:  # networks where only addresses were, or none any more
        event("replaced")
        return
    event("updated")
    script = 'nft -f - && printf %s "$1" | nft -f - && nft -j list ruleset'
    fingerprints = []
    for first, then in ((old.text(), new.update(old.elements)), (new.text(), "")):
        argv = ["unshare", "--net", "sh", "-ec", script, "sh", then]
        done = subprocess.run(argv, input=first, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr + then
        fingerprints.append(firewall_kernel.normalised(firewall_kernel.parsed(done.stdout)))
    assert fingerprints[0] == fingerprints[1]


def safe_plan() -> dict[str, Any]:
    def listener(name: str, **changed: Any) -> dict[str, Any]:
        common = {"name": name, "protocol": "tcp", "ports": "8000", "interface": None, "control": "NET-02", "why": ""}
        return {**common, "from": ["a"], **changed}

    listeners = [
        listener("api", interface="eth0", **{"from": ["a", "b"]}),
        listener("data", protocol="udp", ports="80,4000-4999", control="NET-03", **{"from": ["b"]}),
        # The same port again, for others: both may be there.
        listener("metrics", interface="eth1", control="NET-05"),
        # And a range that one of its ports lies in.
        listener("range", ports="7999-8001", **{"from": ["b"]}),
    ]
    # Addresses that overlap, as declared sources do.
    sources = {
        "a": {"ipv4": ["10.0.0.0/8", "10.1.2.3"], "ipv6": []},
        "b": {"ipv4": [], "ipv6": ["fd00::/8", "fd00::1"]},
    }
    rules = [
        {"name": "a-tcp", "to": "a", "protocol": "tcp", "ports": "29501,40000-44999", "control": "NET-06", "why": "x"}
    ]
    egress = {"own_ports": "40000-44999,8000", "rules": rules}
    host = {"interfaces": {"fabric": None}, "listeners": listeners, "egress": egress, "media": None}
    return {"cluster": {"sets": sources}, "host": host}


def test_what_shares_a_port_shares_a_chain() -> None:
    table = read(render(safe_plan()))
    assert table.targets("input", "tcp") == {
        "7999": "input_tcp_7999",
        "8001": "input_tcp_7999",
        "8000": "input_tcp_8000",
    }
    assert table.targets("input", "udp") == {"80": "input_udp_80", "4000-4999": "input_udp_80"}
    assert table.chains["input_tcp_8000"] == [
        'iifname "eth0" ip saddr @from_a_ipv4 counter accept comment "NET-02 api"',
        'iifname "eth0" ip6 saddr @from_a_ipv6 counter accept comment "NET-02 api"',
        'iifname "eth0" ip saddr @from_b_ipv4 counter accept comment "NET-02 api"',
        'iifname "eth0" ip6 saddr @from_b_ipv6 counter accept comment "NET-02 api"',
        'iifname "eth1" ip saddr @from_a_ipv4 counter accept comment "NET-05 metrics"',
        'iifname "eth1" ip6 saddr @from_a_ipv6 counter accept comment "NET-05 metrics"',
        'ip saddr @from_b_ipv4 counter accept comment "NET-02 range"',
        'ip6 saddr @from_b_ipv6 counter accept comment "NET-02 range"',
    ]
    assert table.chains["published_tcp_7999"] == [
        "ip saddr @from_b_ipv4 accept",
        "ip6 saddr @from_b_ipv6 accept",
        'counter goto refused comment "NET-02 range refused"',
    ]


def test_the_rules_grow_neither_with_peers_nor_with_the_ports_of_others() -> None:
    """What a packet meets: the rules of its base chain, and those of the one chain its port leads to."""
    given_plan = safe_plan()
    few = read(render(given_plan))
    given_plan["cluster"]["sets"]["a"]["ipv4"] = [f"10.0.{high}.{low}" for high in range(20) for low in range(250)]
    given_plan["host"]["listeners"] += [
        {**given_plan["host"]["listeners"][0], "name": f"more-{port}", "ports": str(port)} for port in range(9000, 9200)
    ]
    many = read(render(given_plan))
    assert {name: len(rules) for name, rules in many.chains.items() if name in few.chains} == {
        name: len(rules) for name, rules in few.chains.items()
    }
    assert len(many.elements["from_a_ipv4"]) == 5000


def test_a_source_is_counted_where_it_is_let_in_and_before() -> None:
    """Two rules for each source set of the limited listener, whatever its share; nothing for others, nothing for a stream."""
    given_plan = safe_plan()
    assert "held_" not in render(given_plan)
    assert "too_many" not in render(given_plan)
    given_plan["host"]["listeners"][0]["per_source"] = 7
    table = read(render(given_plan))
    assert table.sets["held_api_ipv6"] == ["type ipv6_addr", "size 65535", "flags dynamic"]
    assert table.chains["input_tcp_8000"][0] == (
        'iifname "eth0" ip saddr @from_a_ipv4 tcp flags syn / fin,syn,rst,ack add @held_api_ipv4 '
        '{ ip saddr ct count over 7 } counter goto too_many comment "NET-14 api"'
    )
    lets_in = next(place for place, rule in enumerate(table.chains["input_tcp_8000"]) if "accept" in rule)
    assert [rule.rsplit('"', 2)[1] for rule in table.chains["input_tcp_8000"][:lets_in]] == ["NET-14 api"] * 4
    assert table.chains["too_many"][-1].startswith("counter reject with tcp reset")
    assert table.chains["input"].index("ct state vmap { established : accept, invalid : drop }") < 3
    others = {name for name, rules in table.chains.items() if any("held_" in rule for rule in rules)}
    assert others == {"input_tcp_8000"}


def test_a_source_of_the_fabric_is_let_in_there_only() -> None:
    given_plan = safe_plan()
    assert "forged" not in read(render(given_plan)).chains
    given_plan["cluster"]["sets"]["fabric"] = {"ipv4": ["10.20.1.0/24"], "ipv6": []}
    given_plan["host"]["interfaces"]["fabric"] = "eth1"
    table = read(render(given_plan))
    assert table.chains["forged"] == [
        "type filter hook prerouting priority raw",
        "policy accept",
        'iifname { "lo" , "eth1" } accept',
        'ip saddr @from_fabric_ipv4 counter drop comment "NET-07 forged fabric source"',
        'ip6 saddr @from_fabric_ipv6 counter drop comment "NET-07 forged fabric source"',
    ]
    assert table.elements["from_fabric_ipv4"] == ["10.20.1.0/24"]


def test_only_the_account_of_the_engine_is_held_back() -> None:
    table = read(render(safe_plan()))
    assert table.chains["output"][-1] == "meta skuid 997 goto engine_egress"
    assert led_to(table, "engine_egress", "tcp", 29501) == [
        'ip daddr @from_a_ipv4 counter accept comment "NET-06 a-tcp"',
        'ip6 daddr @from_a_ipv6 counter accept comment "NET-06 a-tcp"',
    ]
    assert led_to(table, "engine_egress", "tcp", 29502) == []
    assert table.chains["engine_egress"][1] == (
        'oifname "lo" meta l4proto { tcp, udp } th dport { 40000-44999, 8000 } accept'
    )
    without = safe_plan()
    without["host"]["egress"] = None
    assert "skuid" not in render(without)


def test_the_live_connection_is_an_element() -> None:
    policy, callers = policy_of(safe_plan())
    without = firewall_rules.render(policy, callers, 10, 20)
    for address, family in (("198.51.100.7", "ipv4"), ("2001:db8::7", "ipv6")):
        policy["operator"] = {"address": address, "port": 2222}
        found = firewall_rules.render(policy, callers, 10, 20)
        assert found.structure == without.structure
        assert found.update(without.elements) == (
            f"add element inet hardened_vllm operator_{family} {{ {address} . 2222 }}\n"
        )


def test_an_update_names_only_what_differs() -> None:
    given_plan = safe_plan()
    before = rules_of(given_plan)
    assert before.update(before.elements) == ""
    given_plan["cluster"]["sets"]["a"] = {"ipv4": ["10.0.0.0/8", "192.0.2.7", "192.0.2.9"], "ipv6": ["fd00::5"]}
    given_plan["cluster"]["sets"]["b"]["ipv6"] = ["fd01::/16"]
    after = rules_of(given_plan)
    assert after.structure == before.structure
    assert after.update(before.elements).splitlines() == [
        "delete element inet hardened_vllm from_b_ipv6 { fd00::/8 }",
        "add element inet hardened_vllm from_a_ipv4 { 192.0.2.7, 192.0.2.9 }",
        "add element inet hardened_vllm from_a_ipv6 { fd00::5 }",
        "add element inet hardened_vllm from_b_ipv6 { fd01::/16 }",
    ]


def test_plain_addresses_are_looked_up_by_hash_and_networks_in_a_tree() -> None:
    given_plan = safe_plan()
    given_plan["cluster"]["sets"]["a"]["ipv6"] = ["fd00::1", "fd00::2"]
    table = read(render(given_plan))
    assert table.sets["from_a_ipv4"] == ["type ipv4_addr", "flags interval"]
    assert table.sets["from_a_ipv6"] == ["type ipv6_addr"]
    assert table.sets["from_b_ipv4"] == ["type ipv4_addr"]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], []),
        (["10.0.0.2", "10.0.0.1"], ["10.0.0.1", "10.0.0.2"]),
        (["10.1.0.0/16", "10.0.0.0/8", "10.255.255.255", "11.0.0.0"], ["10.0.0.0/8", "11.0.0.0"]),
        (["fd00::1", "::/0", "fd00::/8"], ["::/0"]),
    ],
)
def test_what_lies_within_another_is_left_out(entries: list[str], expected: list[str]) -> None:
    assert firewall_rules.disjoint(entries) == expected


@pytest.mark.parametrize("topology", sorted(TOPOLOGIES))
def test_the_rules_of_every_topology_open_what_its_plan_says(topology: str) -> None:
    cluster, hosts = declaration(topology)
    made = plan({**cluster, "media": MEDIA}, hosts, TODAY)
    for host in made["hosts"].values():
        given_plan = {"cluster": made, "host": host}
        agrees(read(render(given_plan)), *policy_of(given_plan))


@needs_nft
def test_nft_accepts_the_rules_of_every_topology() -> None:
    for topology in sorted(TOPOLOGIES):
        cluster, hosts = declaration(topology)
        made = plan({**cluster, "media": MEDIA}, hosts, TODAY)
        for host in ("engine11", "gateway1"):
            checked(render({"cluster": made, "host": made["hosts"][host]}))


def test_the_proxy_for_media_calls_its_name_servers_and_public_addresses_only() -> None:
    cluster, hosts = declaration("replicas")
    made = plan({**cluster, "media": MEDIA}, hosts, TODAY)
    table = read(render({"cluster": made, "host": made["hosts"]["gateway1"]}))
    assert "meta skuid 996 goto media_egress" in table.chains["output"]
    for port in (80, 443):
        assert led_to(table, "media_egress", "tcp", port)[0] == (
            "ip daddr @from_everyone_ipv4 ip daddr != @from_media-refused_ipv4 fib daddr type != local "
            'counter accept comment "NET-08 media-hosts"'
        )
    for protocol in ("tcp", "udp"):
        asked = led_to(table, "media_egress", protocol, 53)
        assert [rule.split()[2] for rule in asked] == ["@from_media-resolvers_ipv4", "@from_media-resolvers_ipv6"]
        assert sorted(table.targets("media_egress", protocol)) == (["443", "53", "80"] if protocol == "tcp" else ["53"])
    without = plan(cluster, hosts, TODAY)
    assert "media" not in render({"cluster": without, "host": without["hosts"]["gateway1"]})


def test_an_empty_plan_still_drops_everything() -> None:
    host = {"interfaces": {"fabric": None}, "listeners": [], "egress": None, "media": None}
    table = read(render({"cluster": {"sets": {}}, "host": host}))
    assert table.chains["input"][:2] == ["type filter hook input priority filter - 10", "policy drop"]
    assert table.chains["input"][-1] == "goto refused"
    assert sorted(table.chains) == ["control_messages", "input", "published", "refused"]
    assert table.elements == {}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("goto refused\n", "goto refused $x\n"),
        ("}\nadd element", "}\nflush ruleset\nadd element"),
        ("delete table inet hardened_vllm\n", ""),
        ("add element inet hardened_vllm", "add element inet other"),
        ("    chain refused {", "    tunnel refused {"),
        ("    chain refused {", "    chain refused {{"),
    ],
)
def test_the_reader_of_these_tests_takes_nothing_but_our_table(old: str, new: str) -> None:
    text = render(safe_plan())
    assert old in text
    with pytest.raises(
        ValueError, match=r"no place|expected our table|other than an element|neither|ends within|beside"
    ):
        read(text.replace(old, new, 1))
