# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy is there after a reboot, and before the first engine process could be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from isolation.support import ENGINE1
from shared.firewalled import Node

UNIT = "hardened-vllm-engine.service"
# What the engine's unit says of the firewall, and a witness that notes what is in force when it starts.
ENGINE = """[Unit]
Requires=hardened-vllm-firewall.service
After=hardened-vllm-firewall.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'nft -s list table inet hardened_vllm > /root/seen-at-start'
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture
def engine_unit(engine1: Node) -> Iterator[None]:
    engine1.run("sh", "-c", f"cat > /etc/systemd/system/{UNIT}", given=ENGINE)
    engine1.run("systemctl", "enable", UNIT)
    yield
    engine1.shell(
        f"systemctl disable {UNIT}; rm /etc/systemd/system/{UNIT} /root/seen-at-start; systemctl daemon-reload"
    )


@pytest.mark.usefixtures("engine_unit")
def test_the_policy_is_in_force_before_the_engine_starts(engine1: Node, stranger: Node) -> None:
    before = engine1.table()
    engine1.reboot()
    assert engine1.table() == before
    assert engine1.run("cat", "/root/seen-at-start") == before
    assert stranger.scan(ENGINE1, "22,8000,29501") == {address: [] for address in ENGINE1}
    assert engine1.run("cat", "/proc/sys/net/ipv4/ip_local_port_range").split() == ["40000", "44999"]


def test_the_unit_runs_before_the_network(engine1: Node) -> None:
    properties = engine1.run(
        "systemctl", "show", "hardened-vllm-firewall.service", "--property=Before,WantedBy,UnitFileState"
    )
    assert "network-pre.target" in properties
    assert "UnitFileState=enabled" in properties


@pytest.mark.usefixtures("engine_unit", "put_back")
def test_the_engine_does_not_start_without_the_firewall(engine1: Node) -> None:
    engine1.run("systemctl", "stop", "hardened-vllm-firewall.service")
    engine1.run("mv", "/etc/hardened-vllm/firewall.nft", "/root/firewall.nft")
    try:
        assert engine1.start("systemctl", "start", UNIT).returncode != 0
        assert not engine1.exists("/root/seen-at-start")
    finally:
        engine1.run("mv", "/root/firewall.nft", "/etc/hardened-vllm/firewall.nft")
        engine1.run("touch", "/root/seen-at-start")
