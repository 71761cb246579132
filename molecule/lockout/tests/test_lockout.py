# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody is locked out: each time the host is reachable again with its old rules, and the run says what happened."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from lab.testing import wait_for
from shared.firewalled import (
    PLAN,
    STATE,
    Node,
    converge,
    logs_in,
    plan_of_engine1,
    play,
    sets_with,
    start_play,
)

GRACE = 10
SSH = PLAN["isolation_host"]["listeners"][0]
# Nobody but an address of the documentation range may log in, and the live connection is not kept either. Nothing but
# elements of sets differs from the policy in force.
CUTTING: dict[str, Any] = {
    "isolation_sets": sets_with(operators={"ipv4": ["198.51.100.1"], "ipv6": []}),
    "isolation_keep_operator": False,
    "isolation_grace_seconds": GRACE,
}
ONLY_ELEMENTS = "only elements of sets change"
# Makes of every text to be checked one with a mistake; everything else is left to nft.
BROKEN_NFT = """#!/bin/sh
if [ "$1" = -c ]; then
    sed 's/goto refused$/goto refused with nonsense/' "$3" > /run/broken.nft
    exec /usr/sbin/nft.whole -c -f /run/broken.nft
fi
exec /usr/sbin/nft.whole "$@"
"""


def cut_and_kill(node: Node, **more: Any) -> None:
    """The controller dies as soon as the new rules are in force."""
    process = start_play("converge.yml", "--limit", node.name, **{**CUTTING, **more})
    wait_for(lambda: "198.51.100.1" in node.table(), 60)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def changed_listener(**changed: Any) -> dict[str, Any]:
    """Return variables with another listener for SSH on the first engine, and the sets as they are."""
    sets = {"isolation_sets": sets_with()}
    return {**CUTTING, **sets, "isolation_plans": plan_of_engine1(listeners=[{**SSH, **changed}])}


def test_a_policy_that_cuts_ssh_takes_itself_back_on_every_host(
    engine1: Node, engine2: Node, converged: dict[str, str]
) -> None:
    start = time.monotonic()
    run = play("converge.yml", **CUTTING)
    assert time.monotonic() - start < GRACE + 60
    assert run.code != 0
    assert ONLY_ELEMENTS in run.text
    for name in converged:
        assert f"{name}: the new firewall was not kept" in run.text
        assert logs_in(name)
    assert "its old rules are in force again" in run.text
    assert {node.name: node.firewall() for node in (engine1, engine2)} == converged
    again = play("converge.yml", "--check", "--diff", **CUTTING)
    assert again.text.count("an earlier change was taken back at") == len(converged)
    assert "-operators is 10.225.2.1\n" in again.text
    assert "+operators is 198.51.100.1\n" in again.text
    assert {node.name: node.firewall() for node in (engine1, engine2)} == converged


def test_the_live_connection_is_let_in_unless_told_otherwise(engine1: Node) -> None:
    run = converge("--limit", "engine1", **{**CUTTING, "isolation_keep_operator": True})
    assert "let in because this run comes from there: 10.225.2.1" in run.text
    assert ONLY_ELEMENTS in run.text
    assert logs_in("engine1")
    assert "10.225.2.1 . 22" in engine1.table()
    again = converge("--limit", "engine1", **{**CUTTING, "isolation_keep_operator": True})
    assert again.changed()["engine1"] == 0


def test_a_wrong_interface_name_locks_nobody_out(engine1: Node, converged: dict[str, str]) -> None:
    run = play("converge.yml", "--limit", "engine1", **changed_listener(interface="nosuch0"))
    assert run.code != 0
    assert "its old rules are in force again" in run.text
    assert ONLY_ELEMENTS not in run.text
    assert engine1.firewall() == converged["engine1"]
    assert logs_in("engine1")


def test_the_host_goes_back_by_itself_when_the_controller_dies(engine2: Node, converged: dict[str, str]) -> None:
    cut_and_kill(engine2)
    assert not logs_in("engine2"), "the policy must really cut SSH off"
    wait_for(lambda: logs_in("engine2", 1), GRACE + 15)
    wait_for(lambda: not engine2.exists(f"{STATE}/reverting"), 5)
    assert engine2.firewall() == converged["engine2"]
    assert "was not confirmed by a fresh login" in engine2.run("journalctl", "-t", "hardened-vllm-firewall")


def test_a_reboot_during_the_grace_time_boots_with_the_old_rules(engine1: Node, converged: dict[str, str]) -> None:
    cut_and_kill(engine1, isolation_grace_seconds=3000)
    assert not logs_in("engine1"), "the policy must really cut SSH off"
    engine1.reboot()
    assert logs_in("engine1")
    assert engine1.firewall() == converged["engine1"]
    assert not engine1.exists(f"{STATE}/pending")


def test_the_next_run_takes_an_open_change_back_first(engine1: Node, converged: dict[str, str]) -> None:
    assert play("unconfirmed.yml", "--limit", "engine1").code == 0
    assert engine1.exists(f"{STATE}/pending")
    run = converge("--limit", "engine1")
    assert "an earlier change was never confirmed, it is taken back first" in run.text
    assert engine1.firewall() == converged["engine1"]


def test_the_connection_that_made_a_change_cannot_confirm_it(engine1: Node, converged: dict[str, str]) -> None:
    run = play("same_connection.yml", "--limit", "engine1", isolation_grace_seconds=GRACE)
    assert run.code != 0
    assert "which proves nothing" in run.text
    wait_for(lambda: not engine1.exists(f"{STATE}/pending") and not engine1.exists(f"{STATE}/reverting"), GRACE + 15)
    assert engine1.firewall() == converged["engine1"]


@pytest.fixture
def broken_nft(engine1: Node) -> Iterator[None]:
    """An nft that is given rules with a mistake, as one would be that does not know our syntax."""
    engine1.run("mv", "/usr/sbin/nft", "/usr/sbin/nft.whole")
    engine1.run("sh", "-c", "cat > /usr/sbin/nft && chmod 755 /usr/sbin/nft", given=BROKEN_NFT)
    yield
    engine1.run("mv", "/usr/sbin/nft.whole", "/usr/sbin/nft")


@pytest.mark.usefixtures("broken_nft")
def test_a_syntax_error_changes_nothing(engine1: Node, converged: dict[str, str]) -> None:
    run = play("converge.yml", "--limit", "engine1", **changed_listener(interface=None))
    assert run.code != 0
    assert "nft refuses the rules, nothing was changed." in run.text
    assert "nonsense" in run.text
    assert engine1.firewall() == converged["engine1"]
    assert not engine1.exists(f"{STATE}/pending")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ports": "22 accept"}, "listeners[0].ports: found '22 accept', expected a port"),
        ({"name": 'x" accept'}, "listeners[0].name: found "),
    ],
)
def test_text_that_would_be_syntax_changes_nothing(
    changed: dict[str, str], message: str, engine1: Node, converged: dict[str, str]
) -> None:
    run = play("converge.yml", "--limit", "engine1", **changed_listener(**changed))
    assert run.code != 0
    assert message in run.text
    assert engine1.firewall() == converged["engine1"]
    assert not engine1.exists(f"{STATE}/pending")


def test_a_setting_the_kernel_refuses_puts_everything_back(engine1: Node, converged: dict[str, str]) -> None:
    sysctl = {"net.ipv4.ip_local_port_range": "44999 40000", "net.ipv4.ip_local_reserved_ports": "8000"}
    run = play("converge.yml", "--limit", "engine1", isolation_plans=plan_of_engine1(sysctl=sysctl))
    assert run.code != 0
    assert "The old rules, files and kernel settings are back" in run.text
    assert engine1.firewall() == converged["engine1"]
    assert not engine1.exists(f"{STATE}/pending")
