# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays vLLM's command line where a test is about what surrounds it: standard library only, ready at once.

``serve MODEL --stand-in-ranks N --host H --port P --config FILE`` answers completions and counts tokens per rank; for all
ranks but the first it needs the ``--stand-in-peer`` H, where ``--headless --host H`` listens. ``--stand-in-fails-after S``
serves nobody and ends with status 3. Without --stand-in-ranks it says that it is no vLLM and ends with status 3. Other options of vLLM are
accepted and ignored.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PEER_PORT = 29550


class Handler(BaseHTTPRequestHandler):
    """vLLM's API as far as readiness asks for it."""

    key = ""
    peer = ""
    tokens: dict[int, int]

    def do_POST(self) -> None:
        rank = int(self.headers.get("X-data-parallel-rank", 0))
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Authorization"] != f"Bearer {self.key}":
            self.answer(401, b'{"error":"Unauthorized"}')
            return
        try:
            if rank:
                socket.create_connection((self.peer, PEER_PORT), timeout=5).close()
        except OSError as error:
            self.answer(500, str(error).encode())
            return
        self.tokens[rank] += 1
        self.answer(200, json.dumps({"choices": [{"text": ""}], "usage": {"completion_tokens": 1}}).encode())

    def do_GET(self) -> None:
        lines = [f'vllm:generation_tokens_total{{engine="{rank}"}} {count}' for rank, count in self.tokens.items()]
        self.answer(200, "\n".join(lines).encode())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def fail(seconds: float) -> None:
    """Wait as if loading, then end the process as if loading had failed."""
    time.sleep(seconds)
    print("RuntimeError: told to fail", flush=True)
    sys.exit(3)


def main() -> None:
    """Run as vLLM would."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--stand-in-ranks", type=int)
    parser.add_argument("--stand-in-fails-after", type=float)
    parser.add_argument("--headless", action="store_true")
    parser.add_argument("--stand-in-peer", default="")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--config", type=Path)
    given, _others = parser.parse_known_args()
    if given.stand_in_ranks is None:
        print("RuntimeError: this is no vLLM, only its stand-in", flush=True)
        sys.exit(3)
    if given.stand_in_fails_after is not None:
        fail(given.stand_in_fails_after)
    if given.headless:
        listener = socket.create_server((given.host, PEER_PORT), backlog=100)
        while True:
            listener.accept()[0].close()
    Handler.key = json.loads(given.config.read_text().split("api-key:")[1])
    Handler.peer = given.stand_in_peer
    Handler.tokens = dict.fromkeys(range(given.stand_in_ranks), 0)
    ThreadingHTTPServer((given.host, given.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
