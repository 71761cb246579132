# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy as data: what is refused and who is let in."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import firewall_policy as policy
from ansible_collections.hardened.vllm.plugins.module_utils.firewall_common import FirewallProblem
from support.policies import SETS, SSH, listener


def test_addresses_become_canonical_and_unused_sets_are_left_out() -> None:
    found = policy.checked([listener(), SSH], SETS)
    assert found["sets"] == {
        "gateways": {"ipv4": ["10.0.0.20"], "ipv6": ["fd00::20"]},
        "operators": {"ipv4": ["10.1.0.0/24"], "ipv6": []},
    }
    assert found["listeners"][0] == listener()


def test_the_fabric_needs_an_interface_and_its_set() -> None:
    sets = {**SETS, "fabric": {"ipv4": ["10.0.0.0/24"]}}
    found = policy.checked([listener()], sets, fabric="eth0")
    assert found["sets"]["fabric"] == {"ipv4": ["10.0.0.0/24"], "ipv6": []}
    assert found["fabric"] == "eth0"
    with pytest.raises(FirewallProblem, match=r"fabric: found 'eth\*'"):
        policy.checked([listener()], sets, fabric="eth*")
    with pytest.raises(FirewallProblem, match="expected a set fabric"):
        policy.checked([listener()], SETS, fabric="eth0")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": 'api" accept'}, r"listeners\[0\].name: found 'api\" accept'"),
        ({"name": "api\n"}, r"listeners\[0\].name: found 'api\\n'"),
        ({"protocol": "sctp"}, r"listeners\[0\].protocol: found 'sctp', expected tcp or udp"),
        ({"ports": "8000 accept"}, r"listeners\[0\].ports: found '8000 accept'"),
        ({"ports": "0"}, "expected ports from 1 to 65535"),
        ({"ports": "44999-40000"}, "the lower one first"),
        ({"ports": "70000"}, "expected ports from 1 to 65535"),
        ({"ports": 8000}, r"listeners\[0\].ports: found 8000"),
        ({"interface": "eth*"}, r"listeners\[0\].interface: found 'eth\*'"),
        ({"interface": 'eth0" accept'}, r"listeners\[0\].interface"),
        ({"interface": ""}, r"listeners\[0\].interface: found ''"),
        ({"control": "net 2"}, "expected a control's id such as NET-02"),
        ({"why": "line\nbreak"}, r"listeners\[0\].why: found 'line\\nbreak'"),
        ({"from": ["nobody"]}, r"found 'nobody', expected one of the sets: gateways, operators, unused"),
        ({"from": "gateways"}, "expected a list of names from sets"),
        ({"per_source": 0}, r"per_source: found 0, expected connections from 1 to 1000000, or null"),
        ({"per_source": True}, r"per_source: found True, expected connections from 1"),
        ({"per_source": "9 } accept"}, r"per_source: found '9 } accept', expected connections from 1"),
        (
            {"per_source": 9, "protocol": "udp"},
            "per_source: found 9, expected null: connections are counted for tcp only",
        ),
    ],
)
def test_what_a_listener_cannot_be(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(FirewallProblem, match=message):
        policy.checked([listener(**changed)], SETS)


def test_two_listeners_of_one_name_are_refused() -> None:
    with pytest.raises(FirewallProblem, match=r"listeners\[1\].name: found 'api'"):
        policy.checked([listener(), listener(ports="8001")], SETS)


@pytest.mark.parametrize(
    "entry",
    [
        "10.0.0.1/24",
        "10.0.0.256",
        "fd00::1",
        "fe80::1%eth0",
        "10.0.0.1 }",
        "",
        None,
        5,
        True,
        "\u0661\u0660.0.0.1",
        ["x"],
    ],
)
def test_what_an_ipv4_source_cannot_be(entry: Any) -> None:
    with pytest.raises(FirewallProblem, match=r"sets.gateways.ipv4: found .*, expected an IPv4 address or network"):
        policy.checked([listener()], {"gateways": {"ipv4": [entry]}})


@pytest.mark.parametrize("name", ["Gateways", "a b", 'a"', "a\n", "-a", "", "x" * 65])
def test_what_a_source_cannot_be_called(name: str) -> None:
    with pytest.raises(FirewallProblem, match="sets: found"):
        policy.checked([], {name: {}})


@pytest.mark.parametrize(
    ("address", "port", "interface", "admitted"),
    [
        ("10.1.0.7", 22, None, True),
        ("10.1.0.7", 2250, "eth1", True),
        ("10.1.1.7", 22, None, False),
        ("10.1.0.7", 23, None, False),
        ("fd00::20", 22, None, False),
        ("10.0.0.20", 8000, "eth0", True),
        ("10.0.0.20", 8000, "eth1", False),
        ("10.0.0.20", 8000, None, False),
    ],
)
def test_who_is_let_in(address: str, port: int, interface: str | None, admitted: bool) -> None:
    assert policy.admits(policy.checked([listener(), SSH], SETS), address, port, interface) is admitted


CALL = {"name": "peers", "to": "gateways", "protocol": "tcp", "ports": "29501", "control": "NET-06", "why": ""}


def test_accounts_are_numbers_and_those_without_rules_call_nobody() -> None:
    found = policy.checked([], SETS, [CALL])
    callers = {"engine": {"uid": 997, "own_ports": "8000,40000-44999"}, "media": {"uid": 996}}
    assert policy.checked_callers(callers, found) == {**callers, "media": {"uid": 996, "own_ports": None}}
    assert policy.checked_callers({}, policy.checked([], SETS)) == {}


@pytest.mark.parametrize(
    ("callers", "message"),
    [
        ({}, r"callers: found \[\], expected the account of the engine too, for which egress has rules\."),
        ({"engine": {"uid": 997}, "ssh": {"uid": 5}}, "callers: found 'ssh', expected one of engine, media"),
        ({"engine": {"uid": 0}}, "callers.engine.uid: found 0, expected the number of an account other than root"),
        ({"engine": {"uid": "997"}}, "callers.engine.uid: found '997'"),
        ({"engine": {"uid": True}}, "callers.engine.uid: found True"),
        ({"engine": {"uid": 1 << 32}}, "callers.engine.uid: found 4294967296"),
        ({"engine": {}}, "callers.engine.uid: found None"),
        (
            {"engine": {"uid": 997, "own_ports": "1 accept"}},
            "callers.engine.own_ports: found '1 accept', expected a port",
        ),
        ({"engine": {"uid": 997, "own_ports": "9-8"}}, "callers.engine.own_ports: found '9-8', expected ports from 1"),
        (
            {"engine": {"uid": 997, "ports": "8"}},
            "callers.engine: found .*, expected a dictionary with uid and own_ports",
        ),
        ([], r"callers: found \[\], expected a dictionary"),
    ],
)
def test_what_callers_cannot_be(callers: Any, message: str) -> None:
    with pytest.raises(FirewallProblem, match=message):
        policy.checked_callers(callers, policy.checked([], SETS, [CALL]))
