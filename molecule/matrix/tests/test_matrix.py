# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan's matrix of every topology, tried completely: every node to every port of every other, TCP and UDP, IPv4 and IPv6."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lab.testing import Console
from matrix.support import ACCOUNT, SPEC, UNPLANNED, Agent, Agents, planned, rules
from support.topologies import TOPOLOGIES

TOPOLOGY = "data parallel, internal"


@pytest.fixture(scope="module")
def agents() -> Iterator[Agents]:
    engines = [node.name for node in SPEC.nodes if "vllm_nodes" in node.groups]
    found = Agents(
        {node.name: Agent(node.name) for node in SPEC.nodes}, {name: Agent(name, ACCOUNT) for name in engines}
    )
    yield found
    for agent in (*found.root.values(), *found.account.values()):
        agent.close()


def all_rules(made: dict[str, Any]) -> dict[str, str]:
    return {node: rules(made, node) for node in made["hosts"]}


@pytest.mark.parametrize("node", ["engine1", "gateway"])
def test_the_role_puts_the_very_rules_in_force_that_are_tried_below(
    node: str, console: Callable[[str], Console]
) -> None:
    found = console(node).run("cat", "/etc/hardened-vllm/firewall.nft")
    accounts = re.compile(r"(skuid) \d+")
    assert accounts.sub(r"\1 N", found) == accounts.sub(r"\1 N", rules(planned(), node))


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_open_is_open_and_closed_is_closed(topology: str, agents: Agents) -> None:
    """First the attack: without rules the stranger, who is on every network, reaches every port there is."""
    made = planned(topology)
    agents.stand_in(made)
    assert agents.closed_to("stranger", made) == []
    agents.load(all_rules(made))
    assert agents.differences(made) == []


def test_a_peer_that_is_missing_from_a_set_is_found(agents: Agents) -> None:
    made = planned(TOPOLOGY)
    agents.stand_in(made)
    broken = copy.deepcopy(made)
    broken["sets"]["peers-engine1"]["ipv6"].remove("fd77:6a1::12")
    agents.load({**all_rules(made), "engine1": rules(broken, "engine1")})
    found = agents.differences(made)
    assert found
    assert all("engine2 -> Target(node='engine1', network='fabric', protocol='tcp', address='fd77:6a1::11'" in each
               for each in found if "silent, planned open" in each), found  # fmt: skip


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_rule_too_many_is_found(protocol: str, agents: Agents) -> None:
    made = planned(TOPOLOGY)
    agents.stand_in(made)
    accept = f"insert rule inet hardened_vllm input meta nfproto ipv6 {protocol} dport {UNPLANNED} accept\n"
    agents.load({**all_rules(made), "engine1": rules(made, "engine1") + accept})
    found = agents.differences(made)
    assert found
    assert all(
        f"protocol='{protocol}'" in each and f"port={UNPLANNED}): open, planned closed" in each for each in found
    )
    assert {"stranger", "gateway", "engine2"} <= {each.split(" ->")[0] for each in found}


def test_a_node_without_rules_is_found(agents: Agents) -> None:
    made = planned(TOPOLOGY)
    agents.stand_in(made)
    agents.load({node: text for node, text in all_rules(made).items() if node != "gateway"})
    found = agents.differences(made)
    assert any(each.startswith("stranger -> Target(node='gateway'") for each in found)
    assert all("node='gateway'" in each for each in found)
