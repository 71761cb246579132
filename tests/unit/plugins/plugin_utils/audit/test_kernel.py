# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checks read what nft really prints: the rules of the role isolation, loaded in a network namespace of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit import ranges
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.checks import CHECKS
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.view import Finding, Looked, View
from support import audit
from support.firewall import render

NFT = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin")
OURS = ("firewall_drift", "egress_wall", "media_wall", "forged_sources", "foreign_firewall", "source_shares")
pytestmark = pytest.mark.skipif(NFT is None or os.geteuid() != 0, reason="loading rules needs nft and root")


def listed(rules: str, *, also: str = "") -> list[dict[str, Any]]:
    """Load rules and return what nft lists."""
    script = f'nft -f /dev/fd/3 3<<"END"\n{rules}\n{also}\nEND\nnft -j list ruleset'
    argv = ["unshare", "--net", "bash", "-euc", script]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["nftables"]
    return found


def said(made: dict[str, Any], host: str, objects: list[dict[str, Any]]) -> set[tuple[str, str]]:
    evidence: Any = {**audit.host_evidence(made, host), "nftables": objects}
    view = View(host, audit.TODAY, made, made["hosts"][host], evidence)
    told = [one for name in OURS for one in CHECKS[name](view)]
    assert any(isinstance(one, Looked) for one in told)
    return {(one.control, one.place) for one in told if isinstance(one, Finding)}


@pytest.mark.parametrize(
    "topology", ["data parallel, internal", "disaggregated, nixl", "tensor parallel, ray", "events"]
)
def test_the_rules_of_the_role_are_those_of_the_plan(topology: str) -> None:
    made = audit.plan(topology)
    for host, part in made["hosts"].items():
        rules = render({"cluster": made, "host": part})
        assert said(made, host, listed(rules)) == set(), host


def test_a_door_that_no_longer_counts_is_found() -> None:
    made = audit.plan()
    rules = render({"cluster": made, "host": made["hosts"]["gateway1"]})
    counting = [line for line in rules.splitlines() if "goto too_many" in line]
    assert len(counting) == 2
    for line in counting:
        without = rules.replace(line, "")
        assert said(made, "gateway1", listed(without)) == {("NET-14", "share of one source at https")}
        raised = rules.replace("ct count over 1024", "ct count over 65000")
        assert said(made, "gateway1", listed(raised)) == {("NET-14", "share of one source at https")}


def test_what_others_add_is_found() -> None:
    made = audit.plan()
    rules = render({"cluster": made, "host": made["hosts"]["engine11"]})
    slipped = "add rule inet hardened_vllm input_tcp_8000 accept"
    assert {control for control, _place in said(made, "engine11", listed(rules, also=slipped))} == {"NET-09"}
    element = "add element inet hardened_vllm from_gateways_ipv4 { 203.0.113.9 }"
    assert said(made, "engine11", listed(rules, also=element)) == {("NET-09", "set from_gateways_ipv4")}
    published = """table ip nat {
        chain PREROUTING { type nat hook prerouting priority dstnat; policy accept; fib daddr type local jump DOCKER; }
        chain DOCKER { iifname != "docker0" tcp dport 8080 dnat to 172.17.0.2:8000; }
    }"""
    assert said(made, "engine11", listed(rules, also=published)) == {
        ("NET-10", "tcp 8080 by chain DOCKER of table ip nat")
    }
    before = "table ip early {\nchain x {\ntype nat hook prerouting priority -150; policy accept;\n}\n}"
    assert said(made, "engine11", listed(rules, also=before)) == {("NET-10", "chain x of table ip early")}
    emptied = "flush chain inet hardened_vllm engine_egress"
    assert {control for control, _place in said(made, "engine11", listed(rules, also=emptied))} == {"NET-06"}


MEDIA = {"allowed_domains": ["media.example.org"], "resolvers": ["10.21.0.53"]}


@pytest.mark.parametrize(("host", "rule", "control"), [
    ("engine11", 'insert rule inet hardened_vllm input iifname != "lo" accept', "NET-09"),
    ("engine11", 'insert rule inet hardened_vllm input accept comment "DHCPv6 answers"', "NET-09"),
    (
        "engine11",
        'add rule inet hardened_vllm input_tcp_8000 iifname "fabric0" ip saddr != @from_gateways_ipv4 accept comment "NET-02 api"',
        "NET-09",
    ),
    ("engine11", "insert rule inet hardened_vllm engine_egress accept", "NET-06"),
    ("gateway1", "insert rule inet hardened_vllm media_egress accept", "NET-08"),
    ("engine11", "insert rule inet hardened_vllm published accept", "NET-09"),
    ("engine11", 'insert rule inet hardened_vllm published iifname "eth9" accept', "NET-09"),
    ("engine11", "insert rule inet hardened_vllm published goto refused", "NET-09"),
    ("engine11", "insert rule inet hardened_vllm published_tcp_8000 ip saddr 203.0.113.9 accept", "NET-09"),
    ("engine11", "insert rule inet hardened_vllm published_tcp_8000 ip saddr != @from_gateways_ipv4 accept", "NET-09"),
    ("engine11", "flush chain inet hardened_vllm published_tcp_8000", "NET-09"),
    ("engine11", "flush chain inet hardened_vllm published", "NET-09"),
    ("gateway1", "add rule inet hardened_vllm published tcp dport vmap { 9100 : accept }", "NET-09"),
])  # fmt: skip
def test_a_rule_that_looks_like_ours_is_found(host: str, rule: str, control: str) -> None:
    """Each passed unseen before: a comparison turned round, a borrowed comment, one accept too many, a chain nobody judged."""
    made = audit.plan(media=MEDIA)
    found = listed(render({"cluster": made, "host": made["hosts"][host]}), also=rule)
    assert {one for one, _place in said(made, host, found)} == {control}


@pytest.mark.parametrize(("rule", "ports"), [
    ("tcp dport != 8 dnat to 172.17.0.2:80", "tcp 1-7,9-21,23-7999,8001-65535"),
    ("tcp dport != { 80, 90-99 } dnat to 172.17.0.2:80", "tcp 1-21,23-79,81-89,100-7999,8001-65535"),
    ("tcp dport >= 60000 dnat to 172.17.0.2", "tcp 60000-65535"),
    ("tcp dport 7990-8010 dnat to 172.17.0.2", "tcp 7990-7999,8001-8010"),
    ("tcp dport & 0xff00 == 0x2300 dnat to 172.17.0.2", "tcp 1-21,23-7999,8001-65535"),
    ("udp dport 5000 dnat to 172.17.0.2", "udp 5000"),
    ("dnat to tcp dport map { 9000 : 172.17.0.2, 9001 : 172.17.0.3 }", "tcp 9000-9001"),
    ("ip daddr != 127.0.0.0/8 tcp dport 9000 dnat to 172.17.0.2", "tcp 9000"),
    ("ip daddr 127.0.0.1 tcp dport 9000 dnat to 172.17.0.2", ""),
    ("tcp dport 8000 dnat to 172.17.0.2", ""),
    ("meta l4proto udp redirect", "udp 1-65535"),
])  # fmt: skip
def test_ports_others_redirect_are_read_as_they_are(rule: str, ports: str) -> None:
    made = audit.plan("replicas")
    rules = render({"cluster": made, "host": made["hosts"]["engine11"]})
    other = f"table ip nat {{\nchain x {{\ntype nat hook prerouting priority dstnat;\n{rule}\n}}\n}}"
    expected = {("NET-10", f"{ports} by chain x of table ip nat")} if ports else set()
    assert said(made, "engine11", listed(rules, also=other)) == expected


def test_what_a_chain_others_lead_to_redirects_is_said_by_those_that_lead_there() -> None:
    """As Kubernetes does it: the rule that redirects names no port."""
    table = "table ip nat {\nchain pod {\ntcp flags != 0 dnat to 10.9.0.1:80\n}\n}"
    made = audit.plan("replicas")
    rules = render({"cluster": made, "host": made["hosts"]["engine11"]})
    assert said(made, "engine11", listed(rules, also=table)) == set()


@pytest.mark.parametrize(("pairs", "rest"), [
    ([], [(1, 65535)]),
    ([(1, 65535)], []),
    ([(9, 9), (1, 8)], [(10, 65535)]),
    ([(0, 0), (65535, 65535)], [(1, 65534)]),
])  # fmt: skip
def test_the_other_ports(pairs: list[tuple[int, int]], rest: list[tuple[int, int]]) -> None:
    assert ranges.others(pairs) == rest
    assert ranges.common(pairs, rest) == []
