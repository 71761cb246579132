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
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.checks import CHECKS
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.view import Finding, Looked, View
from support import audit
from support.firewall import render

NFT = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin")
OURS = ("firewall_drift", "egress_wall", "forged_sources", "foreign_firewall", "source_shares")
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
