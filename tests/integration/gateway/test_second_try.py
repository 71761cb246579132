# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which request goes to another engine when the first one fails: what was not sent, and what starts nothing."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2 as httpx
import proxies
import pytest

from .conftest import Door, Program, Recorder

GROUPS = ["models", "chat", "responses", "responses-store", "realtime"]
HEADERS = {"Authorization": f"Bearer {proxies.KEY}", "Host": "localhost"}
HANDSHAKE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
HANDSHAKE |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
MODELS, CHAT = ("GET", "/v1/models"), ("POST", "/v1/chat/completions")
STORED, CANCEL = (
    ("GET", "/v1/responses/resp_0123456789abcdef?stream=true"),
    ("POST", "/v1/responses/resp_0123456789abcdef/cancel"),
)
REALTIME = ("GET", "/v1/realtime")


class Breaking:
    """An engine that reads each request and closes the connection without an answer."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.lines: list[str] = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                with self.server.accept()[0] as connection:
                    self.lines.append(connection.recv(65536).decode().split("\r\n")[0])

    def close(self) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.server.close()


def name(value: object) -> str:
    """Name a case of a test by its path."""
    return str(value[1]) if isinstance(value, tuple) else ""


Ask = Callable[[tuple[str, str]], int]
Before = Callable[[list[int]], Ask]


@pytest.fixture
def before(nginx: Program, tmp_path: Path) -> Iterator[Before]:
    """Return a function that starts a gateway before engines on some ports, and returns one that asks it."""
    with ExitStack() as stack:

        def run(ports: list[int]) -> Ask:
            part = proxies.gateway_part(proxies.free_port(), 1, routes=GROUPS)
            part["upstreams"] = [
                {"name": f"engine{number}", "address": "127.0.0.1", "port": port, "concurrent": None}
                for number, port in enumerate(ports)
            ]
            door = Door(stack.enter_context(proxies.gateway(nginx, tmp_path / "gateway", part)), tmp_path / "gateway")
            client = httpx.Client(base_url=f"https://127.0.0.1:{door.proxy.port}", headers=HEADERS, verify=False)
            stack.enter_context(client)

            def ask(call: tuple[str, str]) -> int:
                more = HANDSHAKE if call == REALTIME else {}
                return int(client.request(*call, headers=more, json={} if call == CHAT else None).status_code)

            return ask

        yield run


@pytest.mark.parametrize(
    ("call", "times"),
    [(CHAT, 1), (STORED, 1), (CANCEL, 1), (MODELS, 2), (REALTIME, 2)],
    ids=name,
)
def test_what_was_sent_and_starts_something_is_not_sent_again(
    before: Before, call: tuple[str, str], times: int
) -> None:
    engines = [Breaking(), Breaking()]
    try:
        ask = before([engine.server.getsockname()[1] for engine in engines])
        assert ask(call) == 502
        assert [line for engine in engines for line in engine.lines] == [f"{call[0]} {call[1]} HTTP/1.1"] * times
    finally:
        for engine in engines:
            engine.close()


@pytest.mark.parametrize(("call", "status"), [(CHAT, 200), (MODELS, 200), (STORED, 502), (CANCEL, 502)], ids=name)
def test_what_could_not_be_sent_goes_to_another_engine_that_can_answer_it(
    before: Before, recorder: Recorder, call: tuple[str, str], status: int
) -> None:
    ask = before([proxies.free_port(), recorder.port])
    assert ask(call) == status, "a stored answer is with one engine; another one would say that there is none"
    assert len(recorder.seen()) == (status == 200)
