# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody is locked out: each time the host is reachable again with its old rules, and the run says what happened."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest
from isolation.support import STATE, Node, converge, logs_in, plan_of_engine1, play, sets_with, start_play, wait_for

GRACE = 10
PROLOGUE = "table inet hardened_vllm\ndelete table inet hardened_vllm\n"
# A change that nobody confirms, and that lets the next run in: whether a kept connection outlives the controller it
# belongs to is up to ssh.
LEFT_OPEN = f'{PROLOGUE}table inet hardened_vllm {{ chain input {{ comment "left open"; }}; }}\n'
# Nobody but an address of the documentation range may log in, and the live connection is not kept either.
CUTTING: dict[str, Any] = {
    "isolation_sets": sets_with(operators={"ipv4": ["198.51.100.1"], "ipv6": []}),
    "isolation_keep_operator": False,
    "isolation_grace_seconds": GRACE,
}


def _cut_and_kill(node: Node, **more: Any) -> None:
    """The controller dies as soon as the new rules are in force."""
    process = start_play("converge.yml", "--limit", node.name, **{**CUTTING, **more})
    wait_for(lambda: "198.51.100.1" in node.table(), 30)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.usefixtures("put_back")
def test_a_policy_that_cuts_ssh_takes_itself_back(engine1: Node) -> None:
    before = engine1.firewall()
    start = time.monotonic()
    run = play("converge.yml", "--limit", "engine1", **CUTTING)
    assert time.monotonic() - start < GRACE + 30
    assert run.code != 0
    assert "its old rules are in force again" in run.text
    assert engine1.firewall() == before
    assert logs_in("engine1")
    assert (
        "an earlier change was taken back at" in play("converge.yml", "--limit", "engine1", "--check", **CUTTING).text
    )


@pytest.mark.usefixtures("put_back")
def test_the_live_connection_is_let_in_unless_told_otherwise(engine1: Node) -> None:
    run = converge("--limit", "engine1", **{**CUTTING, "isolation_keep_operator": True})
    assert "let in because this run comes from there: 10.206.2.1" in run.text
    assert logs_in("engine1")
    assert "10.206.2.1 . 22" in engine1.table()
    again = converge("--limit", "engine1", **{**CUTTING, "isolation_keep_operator": True})
    assert again.changed()["engine1"] == 0


@pytest.mark.usefixtures("put_back")
def test_a_wrong_interface_name_locks_nobody_out(engine1: Node) -> None:
    listeners = [
        {
            "name": "ssh",
            "interface": "nosuch0",
            "protocol": "tcp",
            "ports": "22",
            "from": ["operators"],
            "control": "NET-04",
        }
    ]
    before = engine1.firewall()
    run = play(
        "converge.yml",
        "--limit",
        "engine1",
        **{**CUTTING, "isolation_sets": sets_with()},
        isolation_plans=plan_of_engine1(listeners=listeners),
    )
    assert run.code != 0
    assert "its old rules are in force again" in run.text
    assert engine1.firewall() == before
    assert logs_in("engine1")


@pytest.mark.usefixtures("put_back")
def test_the_host_goes_back_by_itself_when_the_controller_dies(engine1: Node) -> None:
    before = engine1.firewall()
    _cut_and_kill(engine1)
    assert not logs_in("engine1"), "the policy must really cut SSH off"
    wait_for(lambda: logs_in("engine1", 1), GRACE + 5)
    wait_for(lambda: not engine1.exists(f"{STATE}/reverting"), 5)
    assert engine1.firewall() == before
    assert "was not confirmed by a fresh login" in engine1.run("journalctl", "-t", "hardened-vllm-firewall")


@pytest.mark.usefixtures("put_back")
def test_a_reboot_during_the_grace_time_boots_with_the_old_rules(engine1: Node) -> None:
    before = engine1.firewall()
    _cut_and_kill(engine1, isolation_grace_seconds=3000)
    assert not logs_in("engine1"), "the policy must really cut SSH off"
    engine1.reboot()
    assert logs_in("engine1")
    assert engine1.firewall() == before
    assert not engine1.exists(f"{STATE}/pending")


@pytest.mark.usefixtures("put_back")
def test_the_next_run_takes_an_open_change_back_first(engine1: Node) -> None:
    before = engine1.firewall()
    assert play("rules.yml", "--limit", "engine1", given_rules=LEFT_OPEN).code == 0
    assert engine1.exists(f"{STATE}/pending")
    run = converge("--limit", "engine1")
    assert "an earlier change was never confirmed, it is taken back first" in run.text
    assert engine1.firewall() == before


def test_the_connection_that_made_a_change_cannot_confirm_it(engine1: Node) -> None:
    before = engine1.firewall()
    run = play("same_connection.yml", "--limit", "engine1", isolation_grace_seconds=GRACE)
    assert run.code != 0
    assert "which proves nothing" in run.text
    wait_for(lambda: not engine1.exists(f"{STATE}/pending") and not engine1.exists(f"{STATE}/reverting"), GRACE + 10)
    assert engine1.firewall() == before


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            f"{PROLOGUE}table inet hardened_vllm {{ chain input {{ nonsense; }}; }}\n",
            "nft refuses the rules",
        ),
        ("flush ruleset\n", "only the table inet hardened_vllm may be touched"),
        (
            "table inet hardened_vllm\ndelete table inet hardened_vllm\ntable inet filter { }\n",
            "only the table inet hardened_vllm",
        ),
    ],
)
def test_broken_rules_change_nothing(rules: str, message: str, engine1: Node) -> None:
    before = engine1.firewall()
    run = play("rules.yml", "--limit", "engine1", given_rules=rules)
    assert run.code != 0
    assert message in run.text
    assert engine1.firewall() == before
    assert not engine1.exists(f"{STATE}/pending")


def test_a_setting_the_kernel_refuses_puts_everything_back(engine1: Node) -> None:
    before = engine1.firewall()
    sysctl = {"net.ipv4.ip_local_port_range": "44999 40000", "net.ipv4.ip_local_reserved_ports": "8000"}
    run = play("converge.yml", "--limit", "engine1", isolation_plans=plan_of_engine1(sysctl=sysctl))
    assert run.code != 0
    assert "The old rules, files and kernel settings are back" in run.text
    assert engine1.firewall() == before
    assert not engine1.exists(f"{STATE}/pending")
