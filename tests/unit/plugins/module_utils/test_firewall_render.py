# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a declaration holds, the rendered rules are refused or say exactly what the data says."""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import firewall_policy, firewall_text
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from support.firewall import render
from support.topologies import TOPOLOGIES, declaration

MEDIA = {"allowed_domains": ["images.example.org"], "resolvers": ["10.21.0.53", "fd21::53"]}
INJECTIONS = [
    'x" accept',
    "x\n        accept",
    "x }\n flush ruleset\n",
    "0.0.0.0/0 } ; accept",
    '8000 } accept comment "',
    "eth*",
    "$x",
    "@operator_v4",
    "x\\",
    "x # y",
    "{{ 7 * 7 }}",
    "x\u2028y",
    "\x00",
]


hostile = st.one_of(st.sampled_from(INJECTIONS), st.text(max_size=20))


def mostly(valid: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Hostile now and then: a plan with a mistake everywhere would always be refused at the first."""
    return st.integers(0, 11).flatmap(lambda number: hostile if number == 11 else valid)


name = mostly(st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,20}\Z"))
ports = mostly(st.one_of(st.integers(1, 65535).map(str), st.sampled_from(["40000-44999", "80,443,9000-9010"])))
interface = mostly(st.sampled_from([None, "eth0", "bond0.100", "enp1s0f0np0"]))
ipv4 = mostly(st.one_of(st.ip_addresses(v=4).map(str), st.just("10.0.0.0/8")))
ipv6 = mostly(st.one_of(st.ip_addresses(v=6).map(str), st.just("fd00::/8")))
sets = st.dictionaries(
    name, st.fixed_dictionaries({"ipv4": st.lists(ipv4, max_size=3), "ipv6": st.lists(ipv6, max_size=3)}), max_size=3
)


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    sources = draw(sets)
    chosen = st.lists(st.sampled_from(sorted(sources)), max_size=2, unique=True) if sources else st.just([])
    listeners = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "name": name,
                    "protocol": mostly(st.sampled_from(["tcp", "udp"])),
                    "ports": ports,
                    "interface": interface,
                    "control": mostly(st.sampled_from(["NET-02", "NET-03"])),
                    "why": st.text(max_size=30),
                    "from": chosen,
                }
            ),
            max_size=3,
        )
    )
    calls = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "name": name,
                    "protocol": mostly(st.sampled_from(["tcp", "udp"])),
                    "ports": ports,
                    "control": mostly(st.just("NET-06")),
                    "why": st.text(max_size=30),
                    "to": st.sampled_from(sorted(sources)) if sources else name,
                }
            ),
            max_size=2,
        )
    )
    egress = draw(st.sampled_from([None, {"own_ports": "8000,40000-44999", "rules": calls}]))
    fabric = draw(interface)
    if fabric is not None:
        sources["fabric"] = {"ipv4": [draw(ipv4)], "ipv6": []}
    return {
        "cluster": {"sets": sources},
        "host": {"interfaces": {"fabric": fabric}, "listeners": listeners, "egress": egress, "media": None},
    }


def accepts(text: str, chain: str) -> list[str]:
    body = text.partition(f"chain {chain} {{")[2].partition("\n    }")[0]
    return [line.strip() for line in body.splitlines() if " accept" in line and "@from_" in line]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(plans())
def test_no_declared_text_becomes_syntax(drawn: dict[str, Any]) -> None:
    try:
        calls = drawn["host"]["egress"]["rules"] if drawn["host"]["egress"] else []
        fabric = drawn["host"]["interfaces"]["fabric"]
        policy = firewall_policy.checked(drawn["host"]["listeners"], drawn["cluster"]["sets"], calls, fabric)
    except firewall_text.FirewallProblem:
        event("refused")
        return
    event("rendered")
    text = render(drawn)
    firewall_text.check(text)
    expected = [
        f"{listener['control']} {listener['name']}"
        for listener in policy["listeners"]
        for _source in listener["from"]
        for _family in ("ipv4", "ipv6")
    ]
    rules = accepts(text, "listeners")
    assert [re.search(r'comment "([^"]*)"$', rule).group(1) for rule in rules] == expected  # type: ignore[union-attr]
    assert len(accepts(text, "published")) == len(expected)
    assert len(accepts(text, "engine_egress")) == 2 * len(policy["egress"])
    for found in re.findall(r"elements = \{ ([^}]*) \}", text):
        for entry in found.split(", "):
            ipaddress.ip_network(entry)
    assert text.count("{") == text.count("}")


def safe_plan() -> dict[str, Any]:
    listeners = [
        {
            "name": "api",
            "protocol": "tcp",
            "ports": "8000",
            "interface": "eth0",
            "control": "NET-02",
            "from": ["a", "b"],
        },
        {
            "name": "data",
            "protocol": "udp",
            "ports": "80,4000-4999",
            "interface": None,
            "control": "NET-03",
            "from": ["b"],
        },
        # The same port again, for others: both may be there.
        {
            "name": "metrics",
            "protocol": "tcp",
            "ports": "8000",
            "interface": "eth1",
            "control": "NET-06",
            "from": ["a"],
        },
    ]
    # Addresses that overlap, as declared sources do.
    sources = {
        "a": {"ipv4": ["10.0.0.0/8", "10.1.2.3"], "ipv6": []},
        "b": {"ipv4": [], "ipv6": ["fd00::/8", "fd00::1"]},
    }
    calls = [
        {"name": "a-tcp", "to": "a", "protocol": "tcp", "ports": "29501,40000-44999", "control": "NET-06", "why": "x"}
    ]
    egress = {"own_ports": "40000-44999,8000", "rules": calls}
    host = {"interfaces": {"fabric": None}, "listeners": listeners, "egress": egress, "media": None}
    return {"cluster": {"sets": sources}, "host": host}


def test_a_source_of_the_fabric_is_let_in_there_only() -> None:
    given = safe_plan()
    assert "forged" not in render(given)
    given["cluster"]["sets"]["fabric"] = {"ipv4": ["10.20.1.0/24"], "ipv6": []}
    given["host"]["interfaces"]["fabric"] = "eth1"
    text = render(given)
    chain = text.partition("chain forged {")[2].partition("\n    }")[0].split("\n")
    assert [line.strip() for line in chain[1:]] == [
        "type filter hook prerouting priority raw; policy accept;",
        'iifname { "lo", "eth1" } accept',
        'ip saddr @from_fabric_ipv4 counter drop comment "NET-07 forged fabric source"',
        'ip6 saddr @from_fabric_ipv6 counter drop comment "NET-07 forged fabric source"',
    ]
    assert "elements = { 10.20.1.0/24 }" in text


def test_only_the_account_of_the_engine_is_held_back() -> None:
    text = render(safe_plan())
    assert "meta skuid 997 goto engine_egress" in text
    assert accepts(text, "engine_egress") == [
        'tcp dport { 29501, 40000-44999 } ip daddr @from_a_ipv4 counter accept comment "NET-06 a-tcp"',
        'tcp dport { 29501, 40000-44999 } ip6 daddr @from_a_ipv6 counter accept comment "NET-06 a-tcp"',
    ]
    without = safe_plan()
    without["host"]["egress"] = None
    assert "skuid" not in render(without)


@pytest.mark.parametrize("topology", sorted(TOPOLOGIES))
def test_each_listener_of_each_topology_is_one_rule_for_each_source(topology: str) -> None:
    made = plan(*declaration(topology), datetime.date(2026, 11, 23))
    for host in made["hosts"].values():
        text = render({"cluster": made, "host": host})
        firewall_policy.checked(host["listeners"], made["sets"], host["egress"]["rules"] if host["egress"] else [])
        expected = [
            f"{listener['control']} {listener['name']}"
            for listener in host["listeners"]
            for _source in listener["from"]
            for _family in ("ipv4", "ipv6")
        ]
        comments = [re.search(r'comment "([^"]*)"$', rule) for rule in accepts(text, "listeners")]
        assert [found.group(1) for found in comments if found is not None] == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="nft checks rules for root only")
def test_nft_accepts_the_rules_of_every_topology(tmp_path: Path) -> None:
    for number, topology in enumerate(sorted(TOPOLOGIES)):
        cluster, hosts = declaration(topology)
        made = plan({**cluster, "media": MEDIA}, hosts, datetime.date(2026, 11, 23))
        for host in ("engine11", "gateway1"):
            rules = tmp_path / f"{number}-{host}.nft"
            rules.write_text(render({"cluster": made, "host": made["hosts"][host]}))
            subprocess.run(["unshare", "--net", "nft", "--check", "--file", str(rules)], check=True)


def test_the_proxy_for_media_calls_its_name_servers_and_public_addresses_only() -> None:
    cluster, hosts = declaration("replicas")
    made = plan({**cluster, "media": MEDIA}, hosts, datetime.date(2026, 11, 23))
    text = render({"cluster": made, "host": made["hosts"]["gateway1"]})
    firewall_text.check(text)
    assert "meta skuid 996 goto media_egress" in text
    rules = [rule for rule in accepts(text, "media_egress") if " ip daddr" in rule]
    assert rules[-1] == (
        "tcp dport { 80, 443 } ip daddr @from_everyone_ipv4 ip daddr != @from_media-refused_ipv4 fib daddr type != local "
        'counter accept comment "NET-08 media-hosts"'
    )
    assert all("@from_media-resolvers_ipv4" in rule and "dport { 53 }" in rule for rule in rules[:-1])
    without = plan(cluster, hosts, datetime.date(2026, 11, 23))
    assert "media" not in render({"cluster": without, "host": without["hosts"]["gateway1"]})


def test_the_listeners_of_the_plan_are_the_rules_and_nothing_else() -> None:
    assert accepts(render(safe_plan()), "listeners") == [
        'iifname "eth0" tcp dport { 8000 } ip saddr @from_a_ipv4 counter accept comment "NET-02 api"',
        'iifname "eth0" tcp dport { 8000 } ip6 saddr @from_a_ipv6 counter accept comment "NET-02 api"',
        'iifname "eth0" tcp dport { 8000 } ip saddr @from_b_ipv4 counter accept comment "NET-02 api"',
        'iifname "eth0" tcp dport { 8000 } ip6 saddr @from_b_ipv6 counter accept comment "NET-02 api"',
        'udp dport { 80, 4000-4999 } ip saddr @from_b_ipv4 counter accept comment "NET-03 data"',
        'udp dport { 80, 4000-4999 } ip6 saddr @from_b_ipv6 counter accept comment "NET-03 data"',
        'iifname "eth1" tcp dport { 8000 } ip saddr @from_a_ipv4 counter accept comment "NET-06 metrics"',
        'iifname "eth1" tcp dport { 8000 } ip6 saddr @from_a_ipv6 counter accept comment "NET-06 metrics"',
    ]


def test_an_empty_plan_still_drops_everything() -> None:
    text = render(
        {
            "cluster": {"sets": {}},
            "host": {"interfaces": {"fabric": None}, "listeners": [], "egress": None, "media": None},
        }
    )
    firewall_text.check(text)
    assert "hook input priority filter - 10; policy drop;" in text
    assert accepts(text, "listeners") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="nft checks rules for root only")
def test_nft_accepts_the_rules(tmp_path: Path) -> None:
    rules = tmp_path / "rules.nft"
    operator = {"address": "fd00::7", "port": 22}
    rules.write_text(firewall_text.admit_operator(render(safe_plan()), operator))
    # In a network namespace of its own, and for checking only.
    subprocess.run(["unshare", "--net", "nft", "--check", "--file", str(rules)], check=True)
