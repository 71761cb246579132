# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports as text, and a scan of sockets of this machine's own."""

from __future__ import annotations

import socket

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import audit_scan


def test_ports_and_ranges() -> None:
    assert audit_scan.ports_of("22, 8000-8002,22") == [22, 8000, 8001, 8002]
    assert audit_scan.ports_of("") == []
    assert audit_scan.ranges([1, 2, 3, 5]) == "1-3,5"
    assert audit_scan.ranges([]) == ""
    assert len(audit_scan.ports_of("1-65535")) == 65535


@pytest.mark.parametrize("text", ["0", "65536", "9-8", "a", "1-"])
def test_what_is_no_port(text: str) -> None:
    with pytest.raises(ValueError):
        audit_scan.ports_of(text)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_open_and_refused(address: str) -> None:
    with socket.create_server((address, 0), family=audit_scan.family(address)) as server:
        port = server.getsockname()[1]
        with socket.socket(audit_scan.family(address)) as reserved:
            reserved.bind((address, 0))
            closed = reserved.getsockname()[1]
            states = audit_scan.Scan(1000, 1, 10, 100).tcp(iter([(address, port), (address, closed)]))
    assert states == {(address, port): "open", (address, closed): "refused"}


def test_silence_is_filtered() -> None:
    # A full backlog says nothing to further connections.
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        target = server.getsockname()
        waiting = [socket.socket() for _number in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(target)
        states = audit_scan.Scan(1000, 0.5, 10, 100).tcp(iter([target]))
        for sock in waiting:
            sock.close()
    assert states == {target: "filtered"}


def test_time_that_is_over_leaves_ports_untried() -> None:
    scan = audit_scan.Scan(1000, 1, -1, 100)
    assert scan.tcp(iter([("127.0.0.1", 1)])) == {}
    assert scan.udp([("127.0.0.1", 1)], b"?") == {}


def test_udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
            gone.bind(("127.0.0.1", 0))
            closed = gone.getsockname()
        states = audit_scan.Scan(1000, 0.5, 10, 100).udp([silent.getsockname(), closed], b"?")
        assert states == {silent.getsockname(): "filtered", closed: "refused"}
