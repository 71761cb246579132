"""Keeps requests and streams coming until told to stop, and books every one of them.

Usage: ledger.py ADDRESS NAME KEY-FILE STOP-FILE. Ends when STOP-FILE is there and what was begun is answered. Writes one JSON object:
"requests" and "streams" (numbers begun), "failed" (what each failed one got), "releases" (answers by release, in the order
of their first).
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

REQUESTERS, STREAMERS = 4, 8
PAUSE_SECONDS = 0.05
SECONDS = 15
EVENTS = 20


class Ledger:
    """What was asked and what came back."""

    def __init__(self, address: str, name: str, key: str, stop: Path) -> None:
        self.address, self.name, self.key, self.stop = address, name, key, stop
        self.lock = threading.Lock()
        self.begun = {"requests": 0, "streams": 0}
        self.failed: list[str] = []
        self.releases: dict[str, int] = {}
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.tls.check_hostname = False
        self.tls.verify_mode = ssl.CERT_NONE

    def asked(self, stream: bool) -> dict[str, object]:
        """Return the body of a request."""
        return {"model": "stand-in", "messages": [{"role": "user", "content": "x"}], "stream": stream}

    def told(self, body: bytes) -> str:
        """Return the release of an answer. Raises ValueError unless it is whole."""
        return str(json.loads(body)["choices"][0]["message"]["content"])

    def streamed_whole(self, events: list[bytes]) -> str:
        """Return the release of a stream's events. Raises ValueError unless they are whole."""
        told = [json.loads(event) for event in events]
        if [event["number"] for event in told] != list(range(EVENTS)):
            raise ValueError(f"stream with events {[event['number'] for event in told]}")
        return str(told[0]["release"])

    def exchange(self, stream: bool) -> bytes:
        """Send one chat request on a connection of its own; return all that comes until the other side closes."""
        body = json.dumps(self.asked(stream))
        lines = ["POST /v1/chat/completions HTTP/1.1", f"Host: {self.name}", f"Authorization: Bearer {self.key}"]
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close", "", body]
        data = b""
        plain = socket.create_connection((self.address, 443), timeout=SECONDS)
        with self.tls.wrap_socket(plain, server_hostname=self.name) as connection:
            connection.sendall("\r\n".join(lines).encode())
            while part := connection.recv(65536):
                data += part
        return data

    def plain(self) -> str:
        """Ask for an answer in one piece; return its release. Raises ValueError for anything else."""
        data = self.exchange(False)
        head, _, body = data.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise ValueError(f"answer {data[:200]!r}")
        return self.told(body[body.index(b"{") : body.rindex(b"}") + 1])

    def streamed(self) -> str:
        """Ask for a stream; return its release. Raises ValueError unless every event and its end are there."""
        data = self.exchange(True)
        events = [line[6:] for line in data.split(b"\n") if line.startswith(b"data: ")]
        if not data.startswith(b"HTTP/1.1 200 ") or events[-1:] != [b"[DONE]"] or not data.endswith(b"0\r\n\r\n"):
            raise ValueError(f"stream of {len(events)} events, begins {data[:40]!r}, ends {data[-40:]!r}")
        return self.streamed_whole(events[:-1])

    def keep(self, kind: str, ask: Callable[[], str]) -> None:
        """Ask again and again and book what comes."""
        while not self.stop.exists():
            with self.lock:
                self.begun[kind] += 1
            try:
                release = ask()
            except (OSError, ValueError, LookupError) as error:
                with self.lock:
                    self.failed.append(f"{kind} at {time.time():.1f}: {type(error).__name__}: {error}")
            else:
                with self.lock:
                    self.releases[release] = self.releases.get(release, 0) + 1
            time.sleep(PAUSE_SECONDS)


def main(kind: type[Ledger] = Ledger) -> None:
    """Run until told to stop."""
    address, name, key, stop = sys.argv[1:]
    ledger = kind(address, name, Path(key).read_text().strip(), Path(stop))
    asked = [("requests", ledger.plain)] * REQUESTERS + [("streams", ledger.streamed)] * STREAMERS
    threads = [threading.Thread(target=ledger.keep, args=one) for one in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({**ledger.begun, "failed": ledger.failed, "releases": ledger.releases}))


if __name__ == "__main__":
    main()
