"""Sends requests byte for byte, as no HTTP library would, and tells what came back.

Usage: raw_requests.py BASE64, of a compressed (zlib) JSON list of objects with "address", "port", "sni" (null: no TLS, empty: TLS
without a name) and either "raw", a request over HTTP/1.1 as latin-1 text, or "headers", a list of [name, value] for a
request over HTTP/2, and "body" when it has one. Up to sixty-four connections are open at a time; requests over HTTP/2 to one place share one.
Writes a JSON list of {"status": int, "text": str, "marks": [[seconds since sent, bytes], ...]}; the status is null when
the connection ended without an answer, and the text begins with "cannot connect" when there was none.
"""

from __future__ import annotations

import base64
import functools
import json
import socket
import ssl
import struct
import sys
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

SECONDS = 6
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS = 0, 1, 3, 4
END_STREAM, END_HEADERS = 1, 4
STREAMS = 40
# The status lines HPACK has an index for.
STATUSES = {0x88: 200, 0x89: 204, 0x8A: 206, 0x8B: 304, 0x8C: 400, 0x8D: 404, 0x8E: 500}


Request = dict[str, Any]
Answer = dict[str, Any]


@functools.cache
def context(protocol: str) -> ssl.SSLContext:
    """Return settings for TLS without verification that ask for ``protocol``."""
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    found.check_hostname = False
    found.verify_mode = ssl.CERT_NONE
    found.set_alpn_protocols([protocol])
    return found


def connect(request: Request, protocol: str) -> socket.socket:
    """Open the connection a request asks for."""
    connection = socket.create_connection((request["address"], request["port"]), timeout=SECONDS)
    if request["sni"] is None:
        return connection
    return context(protocol).wrap_socket(connection, server_hostname=request["sni"] or None)


def over_http1(request: Request) -> Answer:
    """Send the text of a request and read until the server closes."""
    connection = connect(request, "http/1.1")
    data = b""
    marks = []
    started = time.monotonic()
    try:
        connection.sendall(request["raw"].encode("latin-1"))
        while True:
            part = connection.recv(65536)
            if not part:
                break
            data += part
            marks.append([round(time.monotonic() - started, 3), len(part)])
    except OSError:
        pass  # closed without a word, which is an answer too
    words = data.split(b" ", 2)
    status = int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") else None
    return {"status": status, "text": data.decode("latin-1"), "marks": marks}


def text(value: str) -> bytes:
    """Return a string of at most 254 bytes as HPACK writes it without compression."""
    data = value.encode("latin-1")
    length = bytes([len(data)]) if len(data) < 127 else bytes([127, len(data) - 127])
    return length + data


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return one frame of HTTP/2."""
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload


def status_of(payload: bytes) -> int:
    """Return the status of a block of response headers: by index or as three plain digits, after size updates."""
    while payload[0] & 0xE0 == 0x20:
        payload = payload[2 if payload[0] == 0x3F else 1 :]
    return STATUSES.get(payload[0]) or int(payload[2:5])


def frames(connection: socket.socket) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield (kind, flags, stream, payload) of every frame received."""
    received = b""
    while part := connection.recv(65536):
        received += part
        while len(received) >= 9 and len(received) >= 9 + int.from_bytes(received[:3], "big"):
            end = 9 + int.from_bytes(received[:3], "big")
            yield received[3], received[4], int.from_bytes(received[5:9], "big"), received[9:end]
            received = received[end:]


def asked(request: Request, stream: int) -> bytes:
    """Return the frames of a request."""
    block = b"".join(b"\x00" + text(name) + text(value) for name, value in request["headers"])
    body = request.get("body", "").encode("latin-1")
    head = frame(HEADERS, END_HEADERS | (0 if body else END_STREAM), stream, block)
    return head + (frame(DATA, END_STREAM, stream, body) if body else b"")


def over_http2(requests: list[Request]) -> list[Answer]:
    """Send requests as the first streams of one connection."""
    answers: list[Answer] = [{"status": None, "text": "", "marks": []} for _request in requests]
    connection = connect(requests[0], "h2")
    if not isinstance(connection, ssl.SSLSocket) or connection.selected_alpn_protocol() != "h2":
        return [{**answer, "text": "no HTTP/2"} for answer in answers]
    streams = {2 * number + 1: answer for number, answer in enumerate(answers)}
    started = time.monotonic()
    try:
        sent = [asked(request, stream) for stream, request in zip(streams, requests, strict=True)]
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b"") + b"".join(sent))
        for kind, flags, stream, payload in frames(connection):
            if stream not in streams or kind not in (DATA, HEADERS, RST_STREAM):
                continue
            if kind == HEADERS:
                streams[stream]["status"] = status_of(payload)
            elif kind == DATA:
                streams[stream]["text"] += payload.decode("latin-1")
                streams[stream]["marks"].append([round(time.monotonic() - started, 3), len(payload)])
            if kind == RST_STREAM or flags & END_STREAM:
                del streams[stream]
            if not streams:
                break
    except OSError:
        pass  # closed without a word, which is an answer too
    return answers


def send(requests: list[Request]) -> list[Answer]:
    """Send the requests of one connection in the way they ask for.

    Some requests over HTTP/2 cost the whole connection: what it left without an answer is asked again by itself.
    """
    try:
        answers = over_http2(requests) if "headers" in requests[0] else [over_http1(requests[0])]
    except OSError as error:
        return [{"status": None, "text": f"cannot connect: {error}", "marks": []} for _request in requests]
    for place, answer in enumerate(answers):
        if answer["status"] is None and len(requests) > 1:
            answers[place] = send([requests[place]])[0]
    return answers


def connections(requests: list[Request]) -> list[list[Request]]:
    """Return which requests go over one connection, in their order."""
    found: list[list[Request]] = []
    for request in requests:
        last = found[-1] if found else []
        shared = last and "headers" in request and "headers" in last[0] and len(last) < STREAMS
        if shared and all(request[name] == last[0][name] for name in ("address", "port", "sni")):
            last.append(request)
        else:
            found.append([request])
    return found


def main() -> None:
    """Send them all and print the answers."""
    requests = json.loads(zlib.decompress(base64.b64decode(sys.argv[1])))
    with ThreadPoolExecutor(64) as pool:
        print(json.dumps([answer for some in pool.map(send, connections(requests)) for answer in some]))


if __name__ == "__main__":
    main()
