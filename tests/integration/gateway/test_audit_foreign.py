# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The audit asks a real nginx nobody planned, which blocks a route by what was written and hands on what that means."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import proxies
import pytest
from ansible_collections.hardened.vllm.plugins.modules import audit_routes
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit import requests
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.asked import judged
from support import audit

from .conftest import Program

LEAKY = "if ($request_uri ~ ^/invocations) { return 403; } location / { proxy_pass http://127.0.0.1:UPSTREAM/; }"
# What the same intention looks like when it compares what was meant.
TIGHT = "location /invocations { return 403; } location / { proxy_pass http://127.0.0.1:UPSTREAM/; }"


class Handler(BaseHTTPRequestHandler):
    """One route that takes no key, one that acts, and every page may read."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/invocations" and self.command == "POST":
            self.tell(200, b'{"object": "text_completion"}')
        elif self.path == "/pause":
            self.tell(405, b'{"detail": "Method Not Allowed"}', allow="POST")
        else:
            self.tell(404, b'{"detail": "Not Found"}')

    def do_POST(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()

    def tell(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        named = {**headers, "access-control-allow-origin": "*", "content-type": "application/json"}
        for name, value in {**named, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: Any) -> None:
        """Be silent."""


@pytest.fixture
def upstream() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def found(nginx: Program, directory: Path, upstream: int, inside: str) -> dict[str, list[str]]:
    """The places of what the audit finds of a proxy with these lines in its server, by control."""
    port = proxies.free_port()
    server = f"listen 127.0.0.1:{port}; access_log off; {inside.replace('UPSTREAM', str(upstream))}"
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = " ".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)
    (directory / "nginx.conf").write_text(
        f"daemon off; pid {directory}/pid; error_log stderr crit; events {{}} http {{ {places} server {{ {server} }} }}"
    )
    process = subprocess.Popen([nginx[0], "-p", str(directory), "-c", str(directory / "nginx.conf")])
    try:
        assert proxies.listening(port, lambda: process.poll() is None)
        endpoint = {
            "host": "found",
            "address": "127.0.0.1",
            "port": port,
            "tls": "auto",
            "server_name": "",
            "ask": ["vllm"],
        }
        place = {"observer": "outsider", "standing": "observer", "authority": "", "keys": {}}
        pace = {"at_once": 8, "rate": requests.RATE, "timeout": 10, "limit": 120}
        asked = {"vllm": requests.open_requests("0.32.0")}
        seen = audit_routes.collect({**place, **pace, "endpoints": [endpoint], "requests": asked})
    finally:
        process.terminate()
        process.wait(timeout=10)
    plain = {one["status"] for one in seen["answers"] if (one["path"], one["form"]) == ("/invocations", "plain")}
    assert plain == {403}
    evidence = {"format": 1, "taken": audit.TAKEN, "hosts": {}, "reach": [], "routes": [seen], "missing": []}
    told: dict[str, list[str]] = {}
    for one in judged(evidence, {}, [], {}, audit.TODAY)["findings"]:
        told.setdefault(one["control"], []).append(one["place"].replace(f"127.0.0.1 port {port}", "it"))
    return told


def test_what_passes_in_disguise_is_found(nginx: Program, tmp_path: Path, upstream: int) -> None:
    told = found(nginx, tmp_path, upstream, LEAKY)
    assert told["OUT-02"] == ["POST /invocations at it", "POST /pause at it"]
    assert told["OUT-05"] == ["TLS at it"]
    assert told["OUT-06"] == ["header server at it", "header x-content-type-options at it"]
    assert told["OUT-07"] == ["origins at it"]


def test_what_is_blocked_however_it_is_written_is_not(nginx: Program, tmp_path: Path, upstream: int) -> None:
    assert found(nginx, tmp_path, upstream, TIGHT)["OUT-02"] == ["POST /pause at it"]
