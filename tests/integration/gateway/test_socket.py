# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gateway before an engine on a unix socket: its own nginx, and a stand-in that counts who connects."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx2 as httpx
import proxies
import pytest
from support import unix

from .conftest import Door, Program


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        text = json.dumps({"path": self.path, "host": self.headers["Host"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def engine(path: Path) -> Iterator[unix.Server]:
    """Serve at ``path``; when that is over, kept connections end too."""
    with unix.serving(path, Answer) as server:
        yield server
    for connection in server.taken:
        connection.shutdown(socket.SHUT_RDWR)
    path.unlink()


@pytest.fixture
def door(nginx: Program, tmp_path: Path) -> Iterator[Door]:
    part = proxies.gateway_part(proxies.free_port(), 1)
    part["upstreams"] = [
        {"name": "engine", "socket": str(tmp_path / "api.sock"), "engine": "e", "host": "h", "concurrent": None}
    ]
    with proxies.gateway(nginx, tmp_path / "gateway", part) as proxy:
        yield Door(proxy, tmp_path / "gateway")


def test_requests_go_over_one_connection_to_the_socket_of_whatever_engine_is_there(door: Door, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    headers = {"Authorization": f"Bearer {proxies.KEY}", "Host": "localhost"}
    with httpx.Client(base_url=f"https://127.0.0.1:{door.proxy.port}", headers=headers, verify=False) as client:
        assert client.get("/v1/models").status_code == 502, "nginx starts before its engine does"
        for _start in range(2):
            with engine(path) as server:
                answers = [client.get("/v1/models") for _number in range(5)]
                assert [answer.json() for answer in answers] == [{"path": "/v1/models", "host": "localhost"}] * 5
                assert len(server.taken) == 1
            assert client.get("/v1/models").status_code == 502
    lines = door.log(13)
    assert {line["upstream"].split(", ")[0] for line in lines} == {f"unix:{path}"}
    assert sum(line["status"] == 200 for line in lines) == 10
