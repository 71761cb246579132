# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removal leaves the host as it was before the first run, and what was closed is open again."""

from __future__ import annotations

import pytest
from isolation.support import FABRIC1
from shared.firewalled import STATE, Node, play

LEFT = (
    "/etc/hardened-vllm",
    "/etc/sysctl.d/90-hardened-vllm.conf",
    "/etc/systemd/system/hardened-vllm-firewall.service",
    "/etc/systemd/system/sysinit.target.wants/hardened-vllm-firewall.service",
    STATE,
)
FOREIGN = "table inet mine { chain input { type filter hook input priority filter; policy accept;\n }\n}\n"


@pytest.mark.usefixtures("put_back")
def test_removal_and_a_dry_run_on_the_clean_host(engine1: Node, stranger: Node) -> None:
    engine1.run("nft", "-f", "-", given=FOREIGN)
    foreign = engine1.run("nft", "list", "table", "inet", "mine")
    try:
        dry = play("remove.yml", "--limit", "engine1", "--check", "--diff")
        assert dry.code == 0
        assert engine1.exists(STATE)

        run = play("remove.yml", "--limit", "engine1")
        assert run.code == 0, run.text
        assert run.changed()["engine1"]
        assert [path for path in LEFT if engine1.exists(path)] == []
        assert engine1.run("nft", "list", "tables") == "table inet mine\n"
        assert engine1.run("nft", "list", "table", "inet", "mine") == foreign
        assert engine1.run("cat", "/proc/sys/net/ipv4/ip_local_port_range").split() == ["32768", "60999"]
        assert engine1.run("cat", "/proc/sys/net/ipv4/ip_local_reserved_ports").strip() == ""
        assert (
            engine1.run("systemctl", "show", "--property=LoadState", "--value", "hardened-vllm-firewall").strip()
            == "not-found"
        )
        assert stranger.scan(FABRIC1, "8000,29501") == {address: [8000, 29501] for address in FABRIC1}
        assert play("remove.yml", "--limit", "engine1").changed()["engine1"] == 0

        dry = play("converge.yml", "--limit", "engine1", "--check", "--diff")
        assert dry.code == 0, dry.text
        assert "+gateways may reach tcp 8000 on fabric0 (api, API for the gateways; NET-02)" in dry.text
        assert [path for path in LEFT if engine1.exists(path)] == []
        assert engine1.run("nft", "list", "tables") == "table inet mine\n"
    finally:
        engine1.start("nft", "delete", "table", "inet", "mine")
