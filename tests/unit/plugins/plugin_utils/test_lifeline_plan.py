# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the nodes of an engine tell each other which run of it is up: one port that peers reach and the kernel leaves alone."""

from __future__ import annotations

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan
from ansible_collections.hardened.vllm.plugins.plugin_utils.declaration.model import PortRange
from support.topologies import topologies

from .conftest import TODAY

MADE = {name: plan(*given, TODAY) for name, given in topologies().items()}


@pytest.mark.parametrize("name", MADE)
def test_each_engine_over_several_nodes_has_one_and_no_other(name: str) -> None:
    made = MADE[name]
    for host in made["hosts"].values():
        for process in host["engines"]:
            members = made["members"][process["group_name"]]
            spans = len(members) > 1 and host["ray"] is None
            assert (process["lifeline"] is not None) == spans
            if not spans:
                continue
            line, first = process["lifeline"], made["hosts"][members[0]]
            assert line["head"] == (host["name"] == members[0])
            assert line["address"] in first["addresses"]["fabric"].values()
            assert line["peers"] == f"peers-{process['group_name']}"
            (reached,) = [one for one in first["listeners"] if one["name"] == "fabric-ephemeral"]
            assert line["peers"] in reached["from"] and "everyone" not in reached["from"]
            ports = PortRange.parse(reached["ports"])
            assert ports.low <= line["port"] <= ports.high
            assert str(line["port"]) in first["sysctl"]["net.ipv4.ip_local_reserved_ports"].split(",")


def test_there_are_some_of_both() -> None:
    found = [p["lifeline"] for made in MADE.values() for host in made["hosts"].values() for p in host["engines"]]
    assert None in found and any(found)


@pytest.mark.parametrize("name", MADE)
def test_starts_that_fail_slowly_reach_the_limit(name: str) -> None:
    for host in MADE[name]["hosts"].values():
        for process in host["engines"]:
            slowest = process["ready"]["timeout_seconds"] if process["lifeline"] is None else 1800
            starts = process["starts"]
            assert starts["count"] * (slowest + process["stop"]["timeout_seconds"]) < starts["seconds"] <= 8000
