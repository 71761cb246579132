# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to the table in the kernel: nothing, its elements, or all of it."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils.firewall_apply import Firewall
from ansible_collections.hardened.vllm.plugins.module_utils.firewall_rules import Rules, render
from support.firewall import nft_is_usable

IN_FORCE = "fingerprint of the table in the kernel"


def rules(address: str = "10.0.0.7", ports: str = "8000") -> Rules:
    listener = {
        "name": "api",
        "protocol": "tcp",
        "ports": ports,
        "interface": None,
        "control": "NET-02",
        "from": ["gateways"],
        "per_source": None,
    }
    sets = {"gateways": {"ipv4": [address], "ipv6": []}}
    return render({"listeners": [listener], "egress": [], "fabric": None, "sets": sets}, {}, 10, 20)


@pytest.fixture
def firewall() -> Firewall:
    return Firewall("/rules.nft", "/sysctl.conf", "firewall.service", "/state")


def applied(firewall: Firewall, of: Rules) -> dict[str, Any]:
    """Return the record of an applied table, as the host keeps it."""
    found: dict[str, Any] = json.loads(json.dumps({"fingerprint": IN_FORCE, **firewall._identity(of)}))
    return found


def test_the_same_table_is_kept(firewall: Firewall) -> None:
    assert firewall._transaction(rules(), applied(firewall, rules()), IN_FORCE) == ("kept", "")


def test_another_address_is_an_update(firewall: Firewall) -> None:
    step, text = firewall._transaction(rules("10.0.0.8"), applied(firewall, rules()), IN_FORCE)
    assert step == "updated"
    assert text.splitlines() == [
        "delete element inet hardened_vllm from_gateways_ipv4 { 10.0.0.7 }",
        "add element inet hardened_vllm from_gateways_ipv4 { 10.0.0.8 }",
    ]


@pytest.mark.parametrize(
    ("wanted", "in_force", "changed"),
    [
        (rules(ports="8001"), IN_FORCE, {}),
        (rules("10.0.0.0/24"), IN_FORCE, {}),
        (rules("10.0.0.8"), "another hand's", {}),
        (rules("10.0.0.8"), None, {}),
        (rules("10.0.0.8"), IN_FORCE, {"structure": None}),
    ],
    ids=["other ports", "a network", "changed by another hand", "no table", "a record without it"],
)
def test_whatever_else_differs_is_a_replacement(
    firewall: Firewall, wanted: Rules, in_force: str | None, changed: dict[str, Any]
) -> None:
    record = {**applied(firewall, rules()), **changed}
    assert firewall._transaction(wanted, record, in_force) == ("replaced", wanted.text())


@pytest.mark.skipif(not nft_is_usable(), reason="nft loads rules for root in a network namespace only")
def test_an_update_keeps_table_and_rules_and_a_replacement_does_not() -> None:
    script = """
    handles() { nft -a list table inet hardened_vllm | grep -o '# handle .*'; }
    nft -f - && handles > "$0/before" && printf %s "$1" | nft -f - && handles > "$0/updated"
    nft get element inet hardened_vllm from_gateways_ipv4 '{ 10.0.0.8 }' > /dev/null
    printf %s "$2" | nft -f - && handles > "$0/replaced"
    cmp "$0/before" "$0/updated" && ! cmp -s "$0/before" "$0/replaced"
    """
    other = rules("10.0.0.8")
    in_place = 'place=$(mktemp -d) && trap "rm -r $place" EXIT && unshare --net sh -ec "$1" "$place" "$2" "$3"'
    argv = ["sh", "-ec", in_place, "sh", script, other.update(rules().elements), other.text()]
    done = subprocess.run(argv, input=rules().text(), text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
