# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays a vLLM started as its documentation says, on a host nobody hardened: its routes without a key, and a side channel.

Takes vLLM's arguments; only --port counts, and VLLM_NIXL_SIDE_CHANNEL_PORT. Standard library only.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OPEN = {
    ("GET", "/health"): "",
    ("GET", "/metrics"): "# HELP vllm:num_requests_running Number of requests\nvllm:num_requests_running 0.0\n",
    ("GET", "/openapi.json"): json.dumps({"openapi": "3.1.0", "paths": {}}),
    ("GET", "/version"): json.dumps({"version": "0.19.0"}),
    ("POST", "/tokenize"): json.dumps({"tokens": [1]}),
    ("POST", "/invocations"): json.dumps({"object": "text_completion"}),
}
KEYED = "/v1/"


class Handler(BaseHTTPRequestHandler):
    """vLLM's answers as far as an audit tells them apart."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if length := int(self.headers.get("Content-Length") or 0):
            self.rfile.read(length)
        text = OPEN.get((self.command, self.path))
        if self.path.startswith(KEYED):
            self.send(401, json.dumps({"error": "Unauthorized"}))
        elif text is not None:
            self.send(200, text)
        else:
            self.send(404, json.dumps({"detail": "Not Found"}))

    def send(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if text.startswith("{") else "text/plain")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def do_POST(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()

    def version_string(self) -> str:
        return "uvicorn"


def main() -> None:
    """Listen until the end."""
    port = int(sys.argv[sys.argv.index("--port") + 1]) if "--port" in sys.argv else 8000
    channel = socket.create_server(("0.0.0.0", int(os.environ.get("VLLM_NIXL_SIDE_CHANNEL_PORT", "5600"))))  # noqa: S104 - that is the fault
    ThreadingHTTPServer(("0.0.0.0", port), Handler).serve_forever()  # noqa: S104
    channel.close()


if __name__ == "__main__":
    main()
