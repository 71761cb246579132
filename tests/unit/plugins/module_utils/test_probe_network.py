# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Network facts, read from a made-up /proc and from what iproute2 printed."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import probe_network
from ansible_collections.hardened.vllm.plugins.module_utils.probe_common import Collector, Unknown

IP = [
    {"ifname": "lo", "link_type": "loopback", "operstate": "UNKNOWN", "mtu": 65536, "address": "00:00:00:00:00:00",
     "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8, "scope": "host"}]},
    {},
    {"ifname": "eth0", "link_type": "ether", "operstate": "UP", "mtu": 1500, "address": "02:00:00:00:00:01",
     "addr_info": [
         {"family": "inet", "local": "10.0.0.11", "prefixlen": 24, "scope": "global"},
         {"family": "inet6", "local": "fd00::11", "prefixlen": 64, "scope": "global", "tentative": True},
         {"family": "inet6", "local": "fe80::1", "prefixlen": 64, "scope": "link"}]},
]  # fmt: skip


def proc(root: Path, pid: int, parent: int, environment: dict[str, str] | None = None, name: str = "x) (y") -> Path:
    folder = root / "proc" / str(pid)
    (folder / "fd").mkdir(parents=True)
    (folder / "stat").write_text(f"{pid} ({name}) S {parent} 1 1 0")
    (folder / "comm").write_text(name + "\n")
    pairs = (environment or {}).items()
    (folder / "environ").write_bytes(b"\0".join(f"{key}={value}".encode() for key, value in pairs))
    return folder


def test_interfaces_and_their_addresses() -> None:
    links = probe_network.interfaces(json.dumps(IP))
    assert [link["name"] for link in links] == ["lo", "eth0"]
    assert links[1]["state"] == "up"
    assert links[1]["addresses"][1] == {
        "address": "fd00::11",
        "prefix": 64,
        "family": "ipv6",
        "scope": "global",
        "tentative": True,
    }
    assert probe_network.address_map(links) == {"127.0.0.1": "lo", "10.0.0.11": "eth0", "fd00::11": "eth0"}


def test_addresses_are_unknown_without_interfaces() -> None:
    with pytest.raises(Unknown, match="the interfaces are not known"):
        probe_network.address_map(None)


def test_the_operator_is_found_through_sudo(tmp_path: Path) -> None:
    proc(tmp_path, 30, 20)
    proc(tmp_path, 20, 10, {"PATH": "/bin"})
    proc(tmp_path, 10, 1, {"SSH_CONNECTION": "::ffff:10.0.2.1 50022 10.0.2.11 2222"})
    assert probe_network.operator(str(tmp_path), 30) == {
        "address": "10.0.2.1",
        "port": 50022,
        "local_address": "10.0.2.11",
        "local_port": 2222,
    }


def test_a_local_run_has_no_operator(tmp_path: Path) -> None:
    proc(tmp_path, 30, 10)
    proc(tmp_path, 10, 1)
    assert probe_network.operator(str(tmp_path), 30) is None


def test_an_odd_connection_is_unknown(tmp_path: Path) -> None:
    proc(tmp_path, 30, 1, {"SSH_CONNECTION": "10.0.2.1 50022"})
    with pytest.raises(Unknown, match="expected four fields"):
        probe_network.operator(str(tmp_path), 30)


@pytest.mark.parametrize(
    ("text", "plain"), [("fe80::1%eth0", "fe80::1"), ("::ffff:192.0.2.7", "192.0.2.7"), ("FD00::7", "fd00::7")]
)
def test_addresses_lose_zone_and_mapping(text: str, plain: str) -> None:
    assert probe_network.plain_address(text) == plain


def test_listeners_with_their_processes(tmp_path: Path) -> None:
    net = tmp_path / "proc" / "self" / "net"
    net.mkdir(parents=True)
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    row = "   0: {} {} {} 00000000:00000000 00:00000000 00000000     0        0 {} 1 0 100 0 0 10 0\n"
    none4, none6 = "00000000:0000", "0" * 32 + ":0000"
    (net / "tcp").write_text(
        head + row.format("0100007F:1F40", none4, "0A", 501) + row.format("0B00000A:0016", "0100000A:C350", "01", 502)
    )
    (net / "tcp6").write_text(head + row.format("0" * 32 + ":0016", none6, "0A", 503))
    (net / "udp").write_text(head + row.format("00000000:0044", none4, "07", 504))
    folder = proc(tmp_path, 400, 1, name="python3")
    (folder / "fd" / "3").symlink_to("socket:[501]")
    (folder / "fd" / "0").symlink_to("/dev/null")
    found = probe_network.listeners(str(tmp_path))
    assert [(entry["protocol"], entry["address"], entry["port"], entry["processes"]) for entry in found] == [
        ("tcp", "::", 22, []),
        ("tcp", "127.0.0.1", 8000, [{"pid": 400, "name": "python3"}]),
        ("udp", "0.0.0.0", 68, []),
    ]


def test_a_real_listener_is_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        mine = [entry for entry in probe_network.listeners() if (entry["protocol"], entry["port"]) == ("tcp", port)]
    assert mine[0]["address"] == "127.0.0.1"
    assert os.getpid() in [process["pid"] for process in mine[0]["processes"]]


def test_the_own_name_and_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = [(0, 0, 0, "", ("127.0.1.1", 0)), (0, 0, 0, "", ("fd00::11", 0, 0, 0)), (0, 0, 0, "", ("127.0.1.1", 0))]
    monkeypatch.setattr(probe_network.socket, "getaddrinfo", lambda *_: answer)
    assert probe_network.name_resolution("engine1") == {"addresses": ["127.0.1.1", "fd00::11"], "loopback": True}


def test_a_name_that_does_not_resolve_is_unknown() -> None:
    with pytest.raises(Unknown, match=r"nosuch\.invalid does not resolve"):
        probe_network.name_resolution("nosuch.invalid")


@pytest.mark.parametrize(
    ("fact", "reason"),
    [
        (lambda: {}["x"], "unexpected content: KeyError"),
        (lambda: json.loads("{"), "unexpected content: JSONDecodeError"),
    ],
)
def test_odd_content_is_a_fact_we_do_not_have(fact: Any, reason: str) -> None:
    gather = Collector()
    assert gather.add("x", fact) is None
    assert gather.facts == {"x": None}
    assert gather.unknown[0]["reason"].startswith(reason)
