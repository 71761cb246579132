# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine calls its peers and what is declared, and nobody else: metadata, private ranges, services of its own host."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from shared.firewalled import Node

# Addresses the stranger takes on for these tests, as a cloud's metadata service or a neighbour would have them.
METADATA = ("169.254.169.254", "fd00:ec2::254")
INSIDE = ("10.99.0.1", "192.168.77.1", "172.20.0.1")
STRANGER = ("10.206.1.40", "fd77:61::40")
PORT = 8080
ATTEMPT = """
import json, socket, sys
found = {}
for kind, address, port in json.load(sys.stdin):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    one = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    one.settimeout(3)
    try:
        one.connect((address, port))
        if kind == "udp":
            one.send(b"?")
            one.recv(10)
        found[f"{kind} {address} {port}"] = "open"
    except OSError as error:
        found[f"{kind} {address} {port}"] = type(error).__name__
    one.close()
print(json.dumps(found))
"""
SERVER = """
import socket, threading
def datagrams(family):
    one = socket.socket(family, socket.SOCK_DGRAM)
    one.bind(("", 53))
    while True:
        data, peer = one.recvfrom(100)
        one.sendto(data, peer)
for family in (socket.AF_INET, socket.AF_INET6):
    if family == socket.AF_INET:
        threading.Thread(target=datagrams, args=(family,), daemon=True).start()
server = socket.create_server(("", 8080), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    server.accept()[0].close()
"""
FORBIDDEN = [
    *(["tcp", address, PORT] for address in (*METADATA, *INSIDE, *STRANGER)),
    ["udp", STRANGER[0], 53],
    ["tcp", "127.0.0.1", 6379],
    ["tcp", "10.206.1.11", 9999],
]


def attempts(node: Node, account: str, targets: list[list[object]]) -> dict[str, str]:
    """What becomes of connections that `account` of the node makes."""
    argv = ["runuser", "-u", account, "--", "python3", "-c", ATTEMPT]
    found: dict[str, str] = json.loads(node.run(*argv, given=json.dumps(targets)))
    return found


@pytest.fixture(scope="module", autouse=True)
def targets(engine1: Node, stranger: Node) -> Iterator[None]:
    stranger.run("sh", "-c", "cat > /opt/targets.py", given=SERVER)
    stranger.run("systemd-run", "--quiet", "--unit=targets", "python3", "/opt/targets.py")
    local = ["python3", "-m", "http.server", "6379", "--bind", "127.0.0.1"]
    engine1.run("systemd-run", "--quiet", "--unit=local-service", *local)
    for address in (*METADATA, *INSIDE):
        size, via = (128, STRANGER[1]) if ":" in address else (32, STRANGER[0])
        stranger.run("ip", "address", "add", f"{address}/{size}", "dev", "fabric0")
        engine1.run("ip", "route", "add", f"{address}/{size}", "via", via)
    yield
    for address in (*METADATA, *INSIDE):
        size = 128 if ":" in address else 32
        stranger.run("ip", "address", "del", f"{address}/{size}", "dev", "fabric0")
        engine1.run("ip", "route", "del", f"{address}/{size}")
    stranger.run("systemctl", "stop", "targets")
    engine1.run("systemctl", "stop", "local-service")


@pytest.mark.usefixtures("put_back")
def test_without_the_wall_the_engine_reaches_everything(engine1: Node) -> None:
    engine1.run("nft", "flush", "chain", "inet", "hardened_vllm", "output")
    assert set(attempts(engine1, "vllm", FORBIDDEN).values()) == {"open"}


def test_the_engine_reaches_nothing_that_is_not_planned(engine1: Node) -> None:
    found = attempts(engine1, "vllm", FORBIDDEN)
    # At once, and not after a time; of a datagram the kernel tells otherwise.
    assert set(found.values()) == {"ConnectionRefusedError", "PermissionError"}
    assert {target for target, result in found.items() if result == "PermissionError"} == {f"udp {STRANGER[0]} 53"}


def test_other_accounts_are_left_alone(engine1: Node) -> None:
    assert set(attempts(engine1, "nobody", FORBIDDEN).values()) == {"open"}


def test_the_engine_reaches_its_peers_and_itself(engine1: Node) -> None:
    allowed: list[list[object]] = [
        ["tcp", "10.206.1.12", 29501],
        ["tcp", "fd77:61::12", 40001],
        ["tcp", "10.206.1.11", 40002],
        ["tcp", "127.0.0.1", 8000],
    ]
    assert set(attempts(engine1, "vllm", allowed).values()) == {"open"}
    assert attempts(engine1, "vllm", [["tcp", "10.206.1.12", 9999]]) == {
        "tcp 10.206.1.12 9999": "ConnectionRefusedError"
    }


def test_calls_are_counted_under_their_control(engine1: Node) -> None:
    before = engine1.counters()
    attempts(engine1, "vllm", [["tcp", "10.206.1.20", 3128], ["tcp", METADATA[0], PORT]])
    after = engine1.counters()
    assert after["NET-06 media-proxy"] > before["NET-06 media-proxy"]
    assert after["NET-06 the engine may not call there"] > before["NET-06 the engine may not call there"]


def test_answers_of_the_engine_get_out(engine1: Node, gateway: Node) -> None:
    """The stand-in of the API runs as root; here one runs as the engine does."""
    argv = ["systemd-run", "--quiet", "--unit=as-engine", "--uid=vllm", "python3", "-m", "http.server", "40555"]
    engine1.run(*argv, "--bind", "10.206.1.11")
    try:
        found = attempts(Node(gateway.lab, "engine2"), "nobody", [["tcp", "10.206.1.11", 40555]])
        assert found == {"tcp 10.206.1.11 40555": "open"}
    finally:
        engine1.run("systemctl", "stop", "as-engine")
