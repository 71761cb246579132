# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of the host and its other firewalls, read from a made-up root directory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import (
    audit_force,
    probe_common,
    probe_firewalls,
    probe_host,
)
from ansible_collections.hardened.vllm.plugins.module_utils.probe_common import Unknown


def write(root: Path, path: str, text: str = "") -> Path:
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return place


def test_the_distribution(tmp_path: Path) -> None:
    write(
        tmp_path, "/etc/os-release", 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian 12"\n'
    )
    assert probe_host.os_release(str(tmp_path)) == {
        "id": "debian",
        "version": "12",
        "codename": "bookworm",
        "name": "Debian 12",
    }


@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        ("30 1 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "unified"),
        ("30 1 0:1 / /sys/fs/cgroup rw - tmpfs t rw\n31 1 0:2 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw\n", "legacy"),
        (
            "31 1 0:2 / /sys/fs/cgroup/cpu rw - cgroup c rw\n32 1 0:3 / /sys/fs/cgroup/unified rw - cgroup2 c rw\n",
            "hybrid",
        ),
    ],
)
def test_the_control_groups(mounts: str, kind: str, tmp_path: Path) -> None:
    write(tmp_path, "/proc/self/mountinfo", mounts)
    assert probe_host.cgroup(str(tmp_path)) == kind


def test_no_control_groups_are_unknown(tmp_path: Path) -> None:
    write(tmp_path, "/proc/self/mountinfo", "")
    with pytest.raises(Unknown, match="no cgroup file system"):
        probe_host.cgroup(str(tmp_path))


def test_free_space_of_a_path_that_does_not_exist_yet(tmp_path: Path) -> None:
    (tmp_path / "opt").mkdir()
    found = probe_host.disks(["/opt/hardened-vllm/engine", "/"], str(tmp_path))
    assert found["/opt/hardened-vllm/engine"]["ancestor"] == "/opt"
    assert found["/"]["ancestor"] == "/"
    space = os.statvfs(tmp_path)
    assert found["/"]["total_bytes"] == space.f_blocks * space.f_frsize


def test_devices(tmp_path: Path) -> None:
    assert probe_host.rdma_devices(str(tmp_path)) == []
    write(tmp_path, "/sys/class/infiniband/mlx5_0/ports/1/link_layer", "Ethernet\n")
    write(tmp_path, "/sys/class/infiniband/mlx5_0/device/net/eth2/mtu", "1500\n")
    write(tmp_path, "/dev/nvidia0")
    write(tmp_path, "/dev/kfd")
    assert probe_host.rdma_devices(str(tmp_path)) == [
        {"name": "mlx5_0", "link_layers": ["Ethernet"], "interfaces": ["eth2"]}
    ]
    assert probe_host.accelerators(str(tmp_path)) == ["/dev/kfd", "/dev/nvidia0"]


def test_kernel_settings(tmp_path: Path) -> None:
    write(tmp_path, "/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n")
    found = probe_host.sysctls(str(tmp_path))
    assert found["net.ipv4.ip_local_port_range"] == "32768 60999"
    assert found["net.ipv4.ip_local_reserved_ports"] is None


def test_what_was_installed_before(tmp_path: Path) -> None:
    assert probe_host.installed(str(tmp_path)) == {"files": [], "units": [], "engines": [], "images": []}
    write(tmp_path, "/etc/hardened-vllm/firewall.nft")
    write(tmp_path, "/etc/systemd/system/hardened-vllm-engine.service")
    write(tmp_path, "/etc/containers/systemd/hardened-vllm-engine-1.container")
    write(tmp_path, "/var/lib/hardened-vllm/images/sha256-1", "registry.example.org/vllm@sha256:1\n")
    site = "/opt/hardened-vllm/engine/0.32.0/lib/python3.11/site-packages"
    write(tmp_path, f"{site}/vllm-0.32.0.dist-info/METADATA")
    (tmp_path / "opt/hardened-vllm/engine/0.31.0").mkdir()
    assert probe_host.installed(str(tmp_path)) == {
        "files": ["/etc/hardened-vllm/firewall.nft"],
        "units": [
            "/etc/containers/systemd/hardened-vllm-engine-1.container",
            "/etc/systemd/system/hardened-vllm-engine.service",
        ],
        "engines": [
            {"release": "0.31.0", "path": "/opt/hardened-vllm/engine/0.31.0", "vllm": None},
            {"release": "0.32.0", "path": "/opt/hardened-vllm/engine/0.32.0", "vllm": "0.32.0"},
        ],
        "images": ["registry.example.org/vllm@sha256:1"],
    }


def test_podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe_host.podman(str(tmp_path)) == {"version": None, "quadlet": False}
    write(tmp_path, "/usr/bin/podman")
    monkeypatch.setattr(probe_host, "run", lambda _argv: "podman version 4.3.1\n")
    assert probe_host.podman(str(tmp_path)) == {"version": "4.3.1", "quadlet": False}
    write(tmp_path, probe_host.QUADLET_GENERATOR)
    assert probe_host.podman(str(tmp_path)) == {"version": "4.3.1", "quadlet": True}


def test_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    output = "nftables\tinstalled\t1.0.6-2\nnginx\tconfig-files\t1.22\n"
    monkeypatch.setattr(probe_host, "run", lambda *_args, **_named: output)
    assert probe_host.packages(["nftables", "nginx", "nope"]) == {"nftables": "1.0.6-2", "nginx": None, "nope": None}
    assert probe_host.packages([]) == {}


def chain(family: str, table: str, name: str, **base: Any) -> dict[str, Any]:
    return {"chain": {"family": family, "table": table, "name": name, **base}}


def test_tables_and_their_hooks() -> None:
    objects = [
        {"table": {"family": "inet", "name": "hardened_vllm"}},
        {"table": {"family": "ip", "name": "filter"}},
        chain("ip", "filter", "INPUT", type="filter", hook="input", prio=0, policy="drop"),
        chain("ip", "filter", "DOCKER"),
    ]
    assert probe_firewalls.tables(objects) == [
        {"family": "inet", "name": "hardened_vllm", "own": True, "hooks": []},
        {
            "family": "ip",
            "name": "filter",
            "own": False,
            "hooks": [{"chain": "INPUT", "type": "filter", "hook": "input", "priority": 0, "policy": "drop"}],
        },
    ]


@pytest.mark.parametrize(
    ("lists", "checks", "expected"),
    [
        ("exit 0", "exit 0", True),
        ("exit 0", "echo Could not process rule: No such file or directory >&2; exit 1", False),
    ],
)
def test_whether_the_kernel_can_count(
    lists: str, checks: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nft(
        tmp_path,
        monkeypatch,
        f'case "$2" in list) {lists};; -f) grep -q "ct count over 1" "$3" || exit 9; {checks};; esac',
    )
    assert probe_firewalls.counts_connections() is expected


def nft(place: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program in the place of nft."""
    write(place, "/nft", f"#!/bin/sh\n{script}\n").chmod(0o755)
    monkeypatch.setattr(probe_common, "SEARCH_PATH", f"{place}:/usr/bin:/bin")


def test_who_may_not_ask_does_not_know_whether_it_can_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nft(tmp_path, monkeypatch, "echo Operation not permitted >&2; exit 1")
    with pytest.raises(Unknown, match="Operation not permitted"):
        probe_firewalls.counts_connections()


def test_other_firewalls_with_their_evidence(tmp_path: Path) -> None:
    write(tmp_path, "/etc/ufw/ufw.conf", "ENABLED=yes\n")
    write(tmp_path, "/run/docker.sock")
    write(tmp_path, "/proc/7/comm", "firewalld\n")
    write(tmp_path, "/proc/net/ip_tables_names", "filter\nnat\n")
    write(tmp_path, "/etc/nftables.conf", "#!/usr/sbin/nft -f\nflush ruleset\n")
    wants = tmp_path / "etc/systemd/system/sysinit.target.wants"
    wants.mkdir(parents=True)
    (wants / "nftables.service").symlink_to("/lib/systemd/system/nftables.service")
    objects = [chain("ip", "filter", "KUBE-SERVICES"), {"table": {"family": "inet", "name": "netavark"}}]
    links = [{"name": "docker0"}, {"name": "eth0"}]
    assert probe_firewalls.other_firewalls(str(tmp_path), objects, links) == {
        "docker": ["interface docker0", "/run/docker.sock"],
        "firewalld": ["process firewalld"],
        "iptables-legacy": ["IPv4 table filter", "IPv4 table nat"],
        "kube-proxy": ["nftables chain ip KUBE-SERVICES"],
        "nftables.service": ["enabled at boot", "/etc/nftables.conf starts with flush ruleset"],
        "podman": ["nftables table inet netavark"],
        "ufw": ["/etc/ufw/ufw.conf says ENABLED=yes"],
    }


def test_a_bare_host_has_no_other_firewall(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    assert probe_firewalls.other_firewalls(str(tmp_path), None, None) == {}


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["nosuchprogram"], "the program nosuchprogram is not installed"),
        (["sh", "-c", "echo why >&2; exit 3"], "ended with code 3: why"),
        (["sleep", "5"], "sleep gave no answer within 0 seconds"),
    ],
)
def test_a_tool_that_fails_is_a_reason(argv: list[str], reason: str) -> None:
    with pytest.raises(Unknown, match=reason):
        probe_common.run(argv, timeout=0.2)


def test_the_audit_takes_no_client_that_is_connected_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"set": {"table": "hardened_vllm", "name": "held_https_ipv4", "elem": ["198.51.100.7"]}}
    source = {"set": {"table": "hardened_vllm", "name": "from_gateways_ipv4", "elem": ["10.0.0.20"]}}
    listed = json.dumps({"nftables": [held, source]})
    nft(tmp_path, monkeypatch, f"echo '{listed}'")
    monkeypatch.setattr(audit_force, "_has_nftables", lambda _root: True)
    assert audit_force.nftables("/") == [{"set": {"table": "hardened_vllm", "name": "held_https_ipv4"}}, source]
