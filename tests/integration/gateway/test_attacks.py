# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Attacks on the connection rather than the request: what they cost the gateway, what others notice, what arrives."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator

import proxies
import pytest
from raw_requests import DATA, HEADERS, PREFACE, RST_STREAM, context, frame, frames, status_of, text

from .conftest import Door, Recorder, Start

SETTINGS, PING, GOAWAY, CONTINUATION = 4, 6, 7, 9
END_STREAM, END_HEADERS = 1, 4
WRONG = "a-key-of-nobody-0123456789"
# What the gateway may grow by, whatever is sent to it without a key.
GROWTH = 32 * 2**20


def block(
    path: str = "/v1/models", key: str | None = proxies.KEY, *fields: tuple[str, str], method: str = "GET"
) -> bytes:
    """The header block of one request."""
    named = [(":method", method), (":scheme", "https"), (":path", path), (":authority", "localhost"), *fields]
    if key:
        named.append(("authorization", f"Bearer {key}"))
    return b"".join(b"\x00" + text(name) + text(value) for name, value in named)


def connect(door: Door, protocol: str = "h2") -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", door.proxy.port), timeout=30)
    secure = context(protocol).wrap_socket(plain, server_hostname="localhost")
    if protocol == "h2":
        secure.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
    return secure


def statuses(connection: ssl.SSLSocket, count: int) -> list[int]:
    """Read until so many answers have come, or the connection is given up."""
    found = []
    with contextlib.suppress(OSError):
        for kind, _flags, _stream, payload in frames(connection):
            if kind == HEADERS:
                found.append(status_of(payload))
            if kind == GOAWAY or len(found) == count:
                break
    return found


def ask(door: Door, key: str | None = proxies.KEY) -> int:
    """The status another client gets, over a connection of its own."""
    with connect(door) as connection:
        connection.sendall(frame(HEADERS, END_STREAM | END_HEADERS, 1, block(key=key)))
        return statuses(connection, 1)[0]


@contextlib.contextmanager
def others(door: Door) -> Iterator[None]:
    """Somebody else who goes on asking meanwhile, and has to get an answer in time each time."""
    over, slowest, answers = threading.Event(), 0.0, set()

    def go_on() -> None:
        nonlocal slowest
        while not over.is_set():
            began = time.monotonic()
            answers.add(ask(door))
            slowest = max(slowest, time.monotonic() - began)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert answers == {200}
    assert slowest < 10


def flood(connection: ssl.SSLSocket, data: bytes) -> None:
    """Send it all, reading nothing, until the other side has had enough."""
    connection.settimeout(15)
    with contextlib.suppress(OSError):
        connection.sendall(data)


@pytest.mark.parametrize("key", [proxies.KEY, WRONG])
def test_rapid_reset(start: Start, recorder: Recorder, key: str) -> None:
    door = start()
    request = block(key=key)
    streams = range(1, 20_001, 2)
    attack = b"".join(
        frame(HEADERS, END_STREAM | END_HEADERS, stream, request) + frame(RST_STREAM, 0, stream, struct.pack("!I", 8))
        for stream in streams
    )
    before = door.proxy.memory_bytes()
    with others(door):
        for _time in range(3):
            with connect(door) as connection:
                flood(connection, attack)
    assert door.proxy.memory_bytes() - before < GROWTH
    # nginx gives the connection up long before all of them have had their turn.
    assert len(recorder.seen()) < len(streams) * 3 / 2


def test_headers_without_an_end(start: Start, recorder: Recorder) -> None:
    door = start()
    before = door.proxy.memory_bytes()
    part = frame(CONTINUATION, 0, 1, (b"\x00" + text("x-a") + text("b" * 200)) * 60)
    with others(door), connect(door) as connection:
        flood(connection, frame(HEADERS, END_STREAM, 1, block()) + part * 2000)
        assert set(statuses(connection, 1)) <= {400}
    assert door.proxy.memory_bytes() - before < GROWTH
    assert {entry["head"].split("\r\n")[0] for entry in recorder.seen()} == {"GET /v1/models HTTP/1.1"}


def test_headers_that_unfold(start: Start, recorder: Recorder) -> None:
    """Few bytes that stand for many: one long field in the compression's table, then only its number, over and over."""
    door = start()
    long = b"\x40" + text("x-a") + text("b" * 250)
    bomb = block() + long + b"\xbe" * 4000
    before = door.proxy.memory_bytes()
    with connect(door) as connection:
        connection.sendall(frame(HEADERS, END_STREAM | END_HEADERS, 1, bomb))
        assert set(statuses(connection, 1)) <= {400, 431}
    assert door.proxy.memory_bytes() - before < GROWTH
    assert recorder.seen() == []
    assert ask(door) == 200


@pytest.mark.parametrize("kind", [PING, SETTINGS])
def test_frames_that_ask_for_an_answer_each(start: Start, kind: int) -> None:
    door = start()
    before = door.proxy.memory_bytes()
    payload = b"12345678" if kind == PING else b""
    with others(door), connect(door) as connection:
        flood(connection, frame(kind, 0, 0, payload) * 200_000)
    assert door.proxy.memory_bytes() - before < GROWTH


@pytest.mark.parametrize(("announced", "sent"), [(5, 20), (20, 5), (0, 13)])
def test_a_body_of_another_length_than_announced(start: Start, recorder: Recorder, announced: int, sent: int) -> None:
    door = start()
    fields = (("content-type", "application/json"), ("content-length", str(announced)))
    request = block("/v1/chat/completions", proxies.KEY, *fields, method="POST")
    hidden = "GET /metrics HTTP/1.1\r\n\r\n"[:sent].ljust(sent).encode()
    with connect(door) as connection:
        connection.sendall(frame(HEADERS, END_HEADERS, 1, request) + frame(DATA, END_STREAM, 1, hidden))
        assert set(statuses(connection, 1)) <= {400}
    assert recorder.seen() == []


def test_a_key_after_the_body(start: Start, recorder: Recorder) -> None:
    """Trailers are no headers, over either protocol."""
    door = start()
    trailer = b"\x00" + text("authorization") + text(f"Bearer {proxies.KEY}")
    with connect(door) as connection:
        request = block("/v1/chat/completions", None, ("content-type", "application/json"), method="POST")
        body = frame(DATA, 0, 1, b"{}") + frame(HEADERS, END_STREAM | END_HEADERS, 1, trailer)
        connection.sendall(frame(HEADERS, END_HEADERS, 1, request) + body)
        assert statuses(connection, 1) == [401]
    with connect(door, "http/1.1") as connection:
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        more = f"Trailer: Authorization\r\n\r\n2\r\n{{}}\r\n0\r\nAuthorization: Bearer {proxies.KEY}\r\n\r\n"
        connection.sendall((head + more).encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")
    assert recorder.seen() == []


def test_many_keys_over_one_connection(start: Start, recorder: Recorder) -> None:
    door = start(limits={"failed_keys_per_minute": 10})
    with connect(door) as connection:
        wanted = 100
        for number in range(wanted):
            request = block(key=f"{WRONG}-{number:04}")
            connection.sendall(frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, request))
        found = statuses(connection, wanted)
        assert len(found) == wanted
        assert 10 <= found.count(401) <= 13
        assert found.count(429) == wanted - found.count(401)
        assert recorder.seen() == []
        connection.sendall(frame(HEADERS, END_STREAM | END_HEADERS, 2 * wanted + 1, block()))
        assert statuses(connection, 1) == [200], "who has a key is let in, also from there"


def test_requests_that_never_come_to_an_end(start: Start, recorder: Recorder) -> None:
    """Half a request line, half a header, half a body, from two hundred connections; the answers of others do not wait."""
    door = start()
    line = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
    body = f"Authorization: Bearer {proxies.KEY}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
    halves = [line[:20], line, line + "Authorization: Bea", line + body]
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(connect(door, "http/1.1")) for _number in range(200)]
        for number, connection in enumerate(opened):
            connection.sendall(halves[number % len(halves)].encode())
        with others(door):
            time.sleep(2)
        # The headers have fifteen seconds in all, also for who sends a byte now and then.
        began = time.monotonic()
        drop = opened[1]
        drop.settimeout(30)
        with contextlib.suppress(OSError):
            for _second in range(25):
                drop.sendall(b"X")
                drop.settimeout(1)
                with contextlib.suppress(TimeoutError):
                    if not drop.recv(1000):
                        break
        assert time.monotonic() - began < 22
    assert {entry["head"].split("\r\n")[0] for entry in recorder.seen()} == {"GET /v1/models HTTP/1.1"}


def test_a_header_is_as_long_as_declared_at_most(start: Start, recorder: Recorder) -> None:
    door = start(limits={"header_bytes": 4096})
    fields = [(f"x-{number}", "a" * 200) for number in range(60)]
    with connect(door) as connection:
        connection.sendall(frame(HEADERS, END_STREAM | END_HEADERS, 1, block("/v1/models", proxies.KEY, *fields)))
        assert set(statuses(connection, 1)) <= {400, 431}
    assert recorder.seen() == []
    # Over HTTP/2 nginx gives the stream up without an answer; that is logged as no status, in JSON all the same.
    (line,) = door.log(at_least=1)
    assert line["status"] in (0, 400)
    assert "aaaa" not in json.dumps(line)
