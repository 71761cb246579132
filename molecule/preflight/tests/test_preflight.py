# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Preflight finds what contradicts the declaration on a real host, and leaves no trace there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab import runs
from lab.testing import Console

SCENARIO = Path(__file__).parents[1]
ROOT = SCENARIO.parents[1]
LAB = ROOT / ".lab" / "preflight"
# What a host is: files with their times and modes, users, rules, sockets, units, kernel settings.
STATE = r"""
find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /var/log -o -path /var/tmp \
  -o -path /root/.ansible -o -path /var/lib/systemd -o -path /var/cache \) \
  -prune -o -type f -printf '%p %m %s %T@\n' | sort
getent passwd; nft list ruleset; ss -Hlntu | awk '{print $1, $5}' | sort; systemctl list-unit-files --no-legend
sysctl net.ipv4.ip_local_port_range net.ipv4.ip_local_reserved_ports
"""


def preflight(*options: str, **variables: Any) -> tuple[int, str]:
    run = runs.play("preflight", ROOT / "playbooks/preflight.yml", *options, timeout=180, **variables)
    return run.code, run.text


def with_node(place: Path, host: str, **changes: Any) -> str:
    """An inventory option that gives ``host`` another vllm_node."""
    hosts = yaml.safe_load((LAB / "inventory/hosts.yml").read_text())["all"]["hosts"]
    node = {**hosts[host]["vllm_node"], **changes}
    file = place / "other.yml"
    file.write_text(yaml.safe_dump({"all": {"hosts": {host: {"vllm_node": node}}}}))
    return f"--inventory={file}"


def test_it_says_who_will_reach_what() -> None:
    code, text = preflight()
    assert code == 0, text
    assert "[NET-02] tcp 8000 on fabric (fabric0) open to gateways" in text
    assert "[GW-01] tcp 443 on edge (edge0) open to everyone" in text
    assert "everything else is closed" in text


def test_it_leaves_no_trace(console: Callable[[str], Console]) -> None:
    before = [console(name).shell(STATE) for name in ("engine1", "gateway")]
    code, text = preflight("--extra-vars=preflight_show_plan=true")
    assert code == 0, text
    assert [console(name).shell(STATE) for name in ("engine1", "gateway")] == before
    assert not (LAB / "secrets").exists()


def test_the_look_at_the_state_can_fail(console: Callable[[str], Console]) -> None:
    engine = console("engine1")
    before = engine.shell(STATE)
    engine.run("touch", "/etc/hardened-vllm-test")
    assert engine.shell(STATE) != before
    engine.run("rm", "/etc/hardened-vllm-test")


def test_an_address_the_host_does_not_have(tmp_path: Path) -> None:
    addresses = {"fabric": ["10.221.1.99"], "management": ["10.221.2.11"]}
    code, text = preflight(with_node(tmp_path, "engine1", addresses=addresses, interfaces={}))
    assert code != 0
    assert "[address-not-on-host] hosts.engine1.vllm_node.addresses.fabric: found no interface with 10.221.1.99" in text


def test_a_wrong_interface(tmp_path: Path) -> None:
    code, text = preflight(with_node(tmp_path, "engine1", interfaces={"fabric": "management0"}))
    assert code != 0
    assert "[interface-mismatch] hosts.engine1.vllm_node.interfaces.fabric" in text


@pytest.fixture
def own_name_on_loopback(console: Callable[[str], Console]) -> Any:
    """The line Debian's installer writes, which gloo falls into."""
    engine = console("engine1")
    engine.shell("cp /etc/hosts /run/hosts.before && echo 127.0.1.1 engine1 > /etc/hosts")
    yield
    engine.shell("cat /run/hosts.before > /etc/hosts")


@pytest.mark.usefixtures("own_name_on_loopback")
def test_a_name_that_resolves_to_loopback_is_said() -> None:
    code, text = preflight()
    assert code == 0, text
    assert "[name-is-loopback] hosts.engine1" in text
