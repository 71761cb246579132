"""A stand-in for vLLM's HTTP server that keeps every byte it is sent.

Each request becomes one line of JSON in the record: "head" (request line and headers as latin-1 text), "body" (the
same, at most 4 KiB of it), "body_bytes" and "body_sha256". Like vLLM it answers on paths that must never be reached through a gateway.
In a chat request the member "behave" asks for trouble: {"status": 500} answers with that status, {"sleep": seconds}
waits first, {"drop": true} closes the connection without an answer, {"header": "Name: value"} adds a header. A stream has
as many events as "events" says. Asked for a WebSocket it agrees and sends every frame back, but for the model "none", for
which it answers as vLLM does where it knows no such route.
Usage: recorder.py ADDRESS PORT RECORD [PEM [AUTHORITY]]: with a certificate and its key over TLS, with an authority for clients of
its only.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import ssl
import sys
from asyncio import StreamReader, StreamWriter
from pathlib import Path
from typing import Any

# RFC 6455, section 1.3.
WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PING, PONG, CLOSE = 9, 10, 8
EVENTS = 5
EVENT_SECONDS = 0.3


class Recorder:
    """The server; ``record`` is the file it writes to."""

    def __init__(self, record: Path) -> None:
        self.record = record

    async def connection(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while await self.request(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has left
        finally:
            writer.close()

    async def request(self, reader: StreamReader, writer: StreamWriter) -> bool:
        """Answer one request; return whether the connection stays."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        body = await self.body(reader, head.lower())
        with self.record.open("a", encoding="utf-8") as record:
            entry = {"head": head, "body_bytes": len(body), "body": body[:4096].decode("latin-1")}
            entry["body_sha256"] = hashlib.sha256(body).hexdigest()
            record.write(json.dumps(entry) + "\n")
        wanted = self.wanted(body)
        behave = wanted.get("behave", {})
        await asyncio.sleep(behave.get("sleep", 0))
        if behave.get("drop"):
            return False
        if "\r\nupgrade: websocket\r\n" in head.lower() and "model=none " in head:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return False
        if "\r\nupgrade: websocket\r\n" in head.lower():
            await self.websocket(reader, writer, head)
            return False
        if wanted.get("stream"):
            await self.stream(writer, int(wanted.get("events", EVENTS)))
        else:
            self.answer(writer, head.split("\r\n")[0], wanted, behave)
        await writer.drain()
        return True

    async def body(self, reader: StreamReader, head: str) -> bytes:
        """Read the body that the headers announce."""
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        if "chunked" not in headers.get("transfer-encoding", ""):
            return await reader.readexactly(int(headers.get("content-length", "0")))
        parts = []
        while True:
            size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
            if not size:
                return b"".join(parts)

    def wanted(self, body: bytes) -> dict[str, Any]:
        """Return the body as an object, an empty one when it is something else."""
        try:
            found = json.loads(body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def answer(self, writer: StreamWriter, line: str, wanted: dict[str, Any], behave: dict[str, Any]) -> None:
        """Write an answer in one piece."""
        status = behave.get("status", 200)
        if status != 200:
            text = json.dumps({"error": {"message": f"stand-in: insides of /opt/vllm {status}"}})
        elif "/v1/models " in line:
            text = '{"object": "list", "data": [{"id": "stand-in"}]}'
        else:
            text = '{"choices": [{"message": {"content": "stand-in"}}]}' if wanted else f"reached {line}"
        headers = ["Content-Type: application/json", "Server: insides/1.0", f"Content-Length: {len(text)}"]
        headers += [behave["header"]] if "header" in behave else []
        writer.write("\r\n".join([f"HTTP/1.1 {status} Stand-in", *headers, "", text]).encode())

    async def websocket(self, reader: StreamReader, writer: StreamWriter, head: str) -> None:
        """Send back every frame until the other side closes."""
        key = head.partition("Sec-WebSocket-Key: ")[2].partition("\r\n")[0]
        accept = base64.b64encode(hashlib.sha1(key.encode() + WEBSOCKET, usedforsecurity=False).digest()).decode()
        upgrade = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}"
        writer.write(f"HTTP/1.1 101 Switching Protocols\r\n{upgrade}\r\n\r\n".encode())
        kind = 0
        while kind != CLOSE:
            first, length = await reader.readexactly(2)
            more = await reader.readexactly({126: 2, 127: 8}.get(length & 127, 0))
            mask = await reader.readexactly(4 if length & 128 else 0) or bytes(4)
            size = int.from_bytes(more, "big") if more else length & 127
            data = bytes(byte ^ mask[place % 4] for place, byte in enumerate(await reader.readexactly(size)))
            kind = first & 15
            writer.write(bytes([first & 240 | (PONG if kind == PING else kind), length & 127]) + more + data)
            await writer.drain()

    async def stream(self, writer: StreamWriter, events: int) -> None:
        """Write an answer in events, with time between them."""
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(events):
            data = f'data: {{"number": {number}}}\n\n'
            writer.write(f"{len(data):x}\r\n{data}\r\n".encode())
            await writer.drain()
            await asyncio.sleep(EVENT_SECONDS)
        writer.write(b"0\r\n\r\n")


async def main() -> None:
    """Serve for ever."""
    address, port, record, *files = sys.argv[1:]
    context = None
    if files:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files[0])
    if context and len(files) > 1:
        context.load_verify_locations(files[1])
        context.verify_mode = ssl.CERT_REQUIRED
    recorder = Recorder(Path(record))
    server = await asyncio.start_server(recorder.connection, address, int(port), limit=1 << 20, ssl=context)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
