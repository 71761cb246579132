# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays vLLM's command line where a test is about what surrounds it: standard library only, ready at once.

``serve MODEL --stand-in-ranks N --host H --port P --config FILE`` answers completions and counts tokens per rank; for all
ranks but the first it needs the ``--stand-in-peer`` H, where ``--headless --host H`` listens. ``--stand-in-fails-after S``
serves nobody and ends with status 3. Without --stand-in-ranks it says that it is no vLLM and ends with status 3. Other options of vLLM are
accepted and ignored. With ``--ssl-keyfile``, ``--ssl-certfile``, ``--ssl-ca-certs`` and ``--ssl-cert-reqs`` it speaks TLS as vLLM does.

Told to end, it lets the requests it has end within ``--shutdown-timeout`` seconds and answers new ones with status 500, as vLLM 0.32.0 does.

Asked to complete "fall silent" it generates nothing any more, for anybody, and answers /health and /metrics as before.

A wheel may carry a behaviour, for one rank: ``works``, ``crashes`` at start, or ``garbage``: it answers as quickly as any
other and judges a text as broken weights would. Each names its release in its answers and takes LOADING_SECONDS to start.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PEER_PORT = 29550
LOADING_SECONDS = 2
EVENTS = 20
EVENT_SECONDS = 0.15
SILENCE = "fall silent"
BEHAVIOUR = Path(__file__).parents[2] / "behaviour.json"


class Handler(BaseHTTPRequestHandler):
    """vLLM's API as far as readiness and clients ask for it."""

    protocol_version = "HTTP/1.1"
    keys: tuple[str, ...] = ()
    peer = ""
    release = ""
    judgement = -2.0
    silent = False
    tokens: dict[int, int]
    ending = False
    running = 0
    lock = threading.Lock()

    def do_POST(self) -> None:
        with self.lock:
            taken = not self.ending
            Handler.running += taken
        try:
            self.complete(taken)
        finally:
            with self.lock:
                Handler.running -= taken

    def complete(self, taken: bool) -> None:
        """Answer a completion, or say that it was not ``taken``."""
        rank = int(self.headers.get("X-data-parallel-rank", 0))
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] not in [f"Bearer {key}" for key in self.keys]:
            self.answer(401, b'{"error":"Unauthorized"}')
            return
        if not taken:
            self.answer(500, b'{"error":{"message":"cannot schedule new futures after shutdown"}}')
            return
        if asked.get("prompt") == SILENCE:
            Handler.silent = True
        while self.silent:
            time.sleep(1)
        try:
            if rank:
                socket.create_connection((self.peer, PEER_PORT), timeout=5).close()
        except OSError as error:
            self.answer(500, str(error).encode())
            return
        self.tokens[rank] += 1
        if asked.get("stream"):
            self.stream()
        else:
            choice: dict[str, Any] = {"text": "", "message": {"content": self.release}}
            if "prompt_logprobs" in asked:
                choice["prompt_logprobs"] = self.judge(asked["prompt"])
            self.answer(200, json.dumps({"choices": [choice], "usage": {"completion_tokens": 1}}).encode())

    def judge(self, text: str) -> list[dict[str, Any] | None]:
        """Return what vLLM's prompt_logprobs are: null for the first token, then {token id: {logprob, ...}}."""
        words = text.split()
        told = [{str(len(word)): {"logprob": self.judgement - len(word) / 10, "rank": 1}} for word in words[1:]]
        return [None, *told]

    def stream(self) -> None:
        """Answer in events, with time between them and the end that OpenAI's API has."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(EVENTS):
            self.chunk(json.dumps({"number": number, "release": self.release}))
            time.sleep(EVENT_SECONDS)
        self.chunk("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def chunk(self, text: str) -> None:
        """Write one event."""
        data = f"data: {text}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def do_GET(self) -> None:
        lines = [f'vllm:generation_tokens_total{{engine="{rank}"}} {count}' for rank, count in self.tokens.items()]
        self.answer(200, "\n".join(lines).encode())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """Takes the connections of many clients at a time."""

    request_queue_size = 256

    def encrypt(self, given: argparse.Namespace) -> None:
        """Speak TLS. Handshakes are the threads', so that a client who never ends one holds nobody up."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(given.ssl_certfile, given.ssl_keyfile)
        if given.ssl_ca_certs:
            context.load_verify_locations(given.ssl_ca_certs)
        context.verify_mode = ssl.VerifyMode(given.ssl_cert_reqs)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)


def fail(seconds: float) -> None:
    """Wait as if loading, then end the process as if loading had failed."""
    time.sleep(seconds)
    print("RuntimeError: told to fail", flush=True)
    sys.exit(3)


def leave(seconds: float) -> None:
    """End the process with the requests it has, or after ``seconds``."""
    Handler.ending, deadline = True, time.monotonic() + seconds
    while Handler.running and time.monotonic() < deadline:
        time.sleep(0.05)
    os._exit(0)


def behave() -> None:
    """Load as the wheel's behaviour says."""
    told = json.loads(BEHAVIOUR.read_text(encoding="utf-8"))
    time.sleep(LOADING_SECONDS)
    if told["behaviour"] == "crashes":
        print(f"RuntimeError: release {told['release']} crashes at start", flush=True)
        sys.exit(3)
    Handler.release = told["release"]
    Handler.judgement = {"works": -2.0, "garbage": -11.0}[told["behaviour"]]


def main() -> None:
    """Run as vLLM would."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--stand-in-ranks", type=int, default=1 if BEHAVIOUR.exists() else None)
    parser.add_argument("--stand-in-fails-after", type=float)
    parser.add_argument("--shutdown-timeout", type=float, default=0)
    parser.add_argument("--headless", action="store_true")
    parser.add_argument("--stand-in-peer", default="")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--config", type=Path)
    for name in ("--ssl-keyfile", "--ssl-certfile", "--ssl-ca-certs"):
        parser.add_argument(name)
    parser.add_argument("--ssl-cert-reqs", type=int, default=ssl.CERT_NONE)
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
    if BEHAVIOUR.exists():
        behave()
    keys = json.loads(given.config.read_text().split("api-key:")[1])
    Handler.keys = tuple(keys) if isinstance(keys, list) else (keys,)
    Handler.peer = given.stand_in_peer
    Handler.tokens = dict.fromkeys(range(given.stand_in_ranks), 0)
    ending = threading.Thread(target=leave, args=(given.shutdown_timeout,), daemon=True)
    signal.signal(signal.SIGTERM, lambda *_told: ending.is_alive() or ending.start())
    server = Server((given.host, given.port), Handler)
    if given.ssl_certfile:
        server.encrypt(given)
    server.serve_forever()


if __name__ == "__main__":
    main()
