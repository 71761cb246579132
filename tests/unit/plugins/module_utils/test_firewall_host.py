# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel settings: names, values, the file and what overrides it; the kernel's table without what changes by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import firewall_kernel, firewall_sysctl
from ansible_collections.hardened.vllm.plugins.module_utils.firewall_common import FirewallProblem

RANGE = "net.ipv4.ip_local_port_range"
RESERVED = "net.ipv4.ip_local_reserved_ports"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (RANGE, "40000\t44999\n", "40000 44999"),
        (RESERVED, "29550,8000", "8000,29550"),
        (RESERVED, "8000,8001,8003-8005,8004-8010", "8000-8001,8003-8010"),
        (RESERVED, "\n", ""),
    ],
)
def test_values_compare_as_the_kernel_prints_them(name: str, value: str, expected: str) -> None:
    assert firewall_sysctl.normal(name, value) == expected


@pytest.mark.parametrize(
    "values", [{"net.ipv4": "a\nb = c # d"}, {"../etc": "1"}, {"net": "1"}, {RANGE: "1; reboot"}, {"net ipv4": "1"}]
)
def test_names_and_values_cannot_become_other_lines(values: dict[str, str]) -> None:
    with pytest.raises(FirewallProblem, match=r"sysctl.*: found"):
        firewall_sysctl.checked(values)


def test_the_file_is_sorted_and_absent_when_there_is_nothing() -> None:
    text = firewall_sysctl.content({RESERVED: "8000", RANGE: "40000 44999"})
    assert text.splitlines()[1:] == [f"{RANGE} = 40000 44999", f"{RESERVED} = 8000"]
    assert firewall_sysctl.content({}) is None


def test_later_files_that_say_otherwise_are_named(tmp_path: Path) -> None:
    first, second = tmp_path / "etc", tmp_path / "usr"
    first.mkdir()
    second.mkdir()
    (first / "99-other.conf").write_text(f"# {RANGE} = 1 2\n-net/ipv4/ip_local_port_range = 1024\t65535\n")
    (first / "10-early.conf").write_text(f"{RANGE} = 1 2\n")
    (first / "95-same.conf").write_text(f"{RANGE}=40000  44999\n")
    (first / "98-hidden.conf").symlink_to("/dev/null")
    (second / "98-hidden.conf").write_text(f"{RANGE} = 3 4\n")
    found = firewall_sysctl.overrides(
        {RANGE: "40000 44999"}, "/etc/sysctl.d/90-hardened-vllm.conf", (str(first), str(second))
    )
    assert found == [f"{first}/99-other.conf sets {RANGE} = 1024\t65535"]


def test_a_setting_this_kernel_does_not_have_is_named() -> None:
    with pytest.raises(FirewallProblem, match=r"sysctl.net.nosuch: this kernel does not give it: No such file"):
        firewall_sysctl.read("net.nosuch")


def table(handle: int, packets: int, elements: list[Any], verdict: str = "accept") -> list[dict[str, Any]]:
    rule = [{"counter": {"packets": packets, "bytes": packets * 60}}, {verdict: None}]
    return [
        {"metainfo": {"version": "1.0.6"}},
        {"table": {"family": "inet", "name": "hardened_vllm", "handle": handle}},
        {"set": {"name": "from_a", "handle": handle, "flags": ["interval"], "elem": elements}},
        {"set": {"name": "held_seen", "handle": handle, "flags": ["dynamic"], "elem": [packets]}},
        {"rule": {"chain": "input", "handle": handle, "expr": rule}},
    ]


def test_counters_handles_and_order_are_no_change() -> None:
    one, other = table(1, 0, ["10.0.0.1", {"prefix": {"len": 8}}]), table(9, 77, [{"prefix": {"len": 8}}, "10.0.0.1"])
    assert firewall_kernel.normalised(one) == firewall_kernel.normalised(other)


@pytest.mark.parametrize(
    "other", [table(1, 0, ["10.0.0.2"]), table(1, 0, ["10.0.0.1"], "drop"), table(1, 0, ["10.0.0.1"])[:-1]]
)
def test_elements_verdicts_and_missing_rules_are_a_change(other: list[dict[str, Any]]) -> None:
    assert firewall_kernel.normalised(table(1, 0, ["10.0.0.1"])) != firewall_kernel.normalised(other)
