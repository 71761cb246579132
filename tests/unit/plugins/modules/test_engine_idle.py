# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is still connected to an engine, by the kernel's own tables: real sockets of this machine, and made-up ones."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from ansible_collections.hardened.vllm.plugins.modules.engine_idle import connections

ROW = "   0: {} {} {} 00000000:00000000 00:00000000 00000000     0        0 1 1 0000 20 4 30 10 -1\n"
HEAD = "  sl  local_address rem_address   st\n"


def test_a_connection_that_nobody_has_accepted_yet_counts(tmp_path: Path) -> None:
    """Its request may lie there already, as it may on a port."""
    path = str(tmp_path / "api.sock")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen()
        client.connect(path)
        assert connections({"socket": path}) == 1


def test_connections_to_a_socket_are_counted_until_they_end(tmp_path: Path) -> None:
    path = str(tmp_path / "api.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        assert connections({"socket": path}) == 0
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            with server.accept()[0]:
                assert connections({"socket": path}) == 1
                assert connections({"socket": f"{path}2"}) == 0
        assert connections({"socket": path}) == 0


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_connections_to_a_port_are_counted_until_they_end(family: socket.AddressFamily) -> None:
    with socket.socket(family) as server:
        server.bind(("127.0.0.1" if family is socket.AF_INET else "::1", 0))
        server.listen()
        address, port = server.getsockname()[:2]
        api = {"address": address, "port": port, "socket": None}
        assert connections(api) == 0
        with socket.create_connection((address, port)), server.accept()[0]:
            assert connections(api) == 1
            assert connections({**api, "port": port - 1}) == 0


def test_an_address_of_ipv4_counts_in_the_table_of_ipv6_too(tmp_path: Path) -> None:
    """What listens on [::] takes it there. Half-open ones count, those that wait for late packets do not."""
    (tmp_path / "proc/net").mkdir(parents=True)
    near, far = "0B01140A:1F40", "1401140A:9C40"
    rows = [ROW.format(near, far, state) for state in ("01", "03", "06", "0A")]
    (tmp_path / "proc/net/tcp").write_text(HEAD + "".join(rows))
    mapped = "0000000000000000FFFF0000"
    (tmp_path / "proc/net/tcp6").write_text(HEAD + ROW.format(mapped + near, mapped + far, "01"))
    api = {"address": "10.20.1.11", "port": 8000}
    assert connections(api, str(tmp_path)) == 3
    (tmp_path / "proc/net/tcp6").unlink()
    assert connections(api, str(tmp_path)) == 2
