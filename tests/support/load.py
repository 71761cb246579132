# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mock of vLLM that answers at once, and a client that costs little, for benchmarks of what stands between them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import ssl
import time
from collections.abc import Iterator

import proxies

EVENTS, EVENT_SECONDS = 100, 0.005
BODY = json.dumps({"model": proxies.MODEL, "messages": [{"role": "user", "content": "x" * 400}]})
ANSWER = json.dumps(
    {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": proxies.MODEL,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "y" * 400}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
)
EVENT = "data: " + json.dumps(
    {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": proxies.MODEL,
        "choices": [{"index": 0, "delta": {"content": "word "}}],
    }
)


async def _upstream_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            lengths = [line[15:] for line in head.split("\r\n") if line.startswith("content-length:")]
            body = await reader.readexactly(int(lengths[0]) if lengths else 0)
            if b'"stream":true' in body.replace(b" ", b""):
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                await _upstream_events(writer, b'"idle"' in body)
            else:
                writer.write(
                    f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(ANSWER)}\r\n\r\n{ANSWER}".encode()
                )
            await writer.drain()
    writer.close()


async def _upstream_events(writer: asyncio.StreamWriter, idle: bool) -> None:
    event = (EVENT + "\n\n").encode()
    for _number in range(1 if idle else EVENTS):
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        await writer.drain()
        await asyncio.sleep(EVENT_SECONDS)
    if idle:
        await asyncio.sleep(3600)
    writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


def serve(port: int) -> None:
    async def run() -> None:
        server = await asyncio.start_server(_upstream_connection, "127.0.0.1", port, backlog=2048)
        await server.serve_forever()

    asyncio.run(run())


def request(body: str) -> bytes:
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {proxies.KEY}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


class Client:
    """One kept connection to a proxy."""

    def __init__(self, proxy: proxies.Proxy) -> None:
        self.proxy = proxy

    async def open(self) -> Client:
        context = None
        if self.proxy.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.proxy.port, ssl=context)
        return self

    async def ask(self, request: bytes) -> None:
        """Send a request and read the whole of its answer, which must be a good one."""
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            await self.reader.readuntil(b"0\r\n\r\n")
        else:
            await self.reader.readexactly(int(lower.split(b"content-length: ")[1].split(b"\r\n")[0]))

    async def stream(self) -> tuple[float, float]:
        """Read a stream as it comes; return events per read that brought any, and the milliseconds until the first."""
        started = time.perf_counter()
        self.writer.write(request(BODY.replace("{", '{"stream": true, ', 1)))
        events = reads = 0
        first = 0.0
        data = b""
        while not data.endswith(b"0\r\n\r\n"):
            data = await self.reader.read(1 << 20)
            assert data, "the stream was cut short"
            found = data.count(b"data: {")
            if found and not events:
                first = (time.perf_counter() - started) * 1000
            events += found
            reads += 1 if found else 0
        assert events >= EVENTS, f"{events} events"
        return events / reads, first


@contextlib.contextmanager
def upstream() -> Iterator[proxies.Proxy]:
    """Run the mock in a process of its own."""
    port = proxies.free_port()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(port,), daemon=True)
    process.start()
    try:
        proxies.listening(port, process.is_alive)
        yield proxies.Proxy(port, False, process.pid or 0)
    finally:
        process.terminate()
