# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""More requests than the engines can take: those above are refused at once, and what is under way is not touched."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx2 as httpx
import proxies
import pytest

from .conftest import Door, Program, Recorder

HEADERS = {"Authorization": f"Bearer {proxies.KEY}", "Host": "localhost"}
OTHER = HEADERS | {"Authorization": f"Bearer {proxies.tenant_key(0)}"}
ROOM, SECONDS = 4, 4


@pytest.fixture
def door(nginx: Program, tmp_path: Path, recorder: Recorder) -> Iterator[Door]:
    """A gateway of several worker processes, before an engine that may have four requests."""
    with ExitStack() as stack:
        routes = ["models", "chat", "responses-store"]
        tenants = {"tenants": 2, "last": {"routes": routes}, "others": {"routes": ["models", "chat"]}}
        part = proxies.gateway_part(proxies.free_port(), recorder.port, routes=routes, **tenants)
        part["upstreams"][0]["concurrent"] = ROOM
        running = proxies.gateway(nginx, tmp_path / "gateway", part, gateway_worker_processes=3)
        yield Door(stack.enter_context(running), tmp_path / "gateway")


def ask(door: Door, headers: dict[str, str], call: tuple[str, str], seconds: float = 0) -> tuple[httpx.Response, float]:
    """Ask over a connection of its own, which any of the workers may have; return the answer and what it took."""
    began = time.monotonic()
    body = {"behave": {"sleep": seconds}} if call[0] == "POST" else None
    with httpx.Client(base_url=f"https://127.0.0.1:{door.proxy.port}", verify=False, timeout=60) as client:
        answer = client.request(*call, headers=headers, json=body)
    return answer, time.monotonic() - began


CHAT, MODELS = ("POST", "/v1/chat/completions"), ("GET", "/v1/models")
STORED = ("GET", "/v1/responses/resp_0123456789abcdef")


def test_what_is_above_is_refused_at_once_for_everybody(door: Door, recorder: Recorder) -> None:
    with ThreadPoolExecutor(ROOM) as pool:
        full = [pool.submit(ask, door, HEADERS, CHAT, SECONDS) for _number in range(ROOM)]
        deadline = time.monotonic() + 20
        while len(recorder.seen()) < ROOM and time.monotonic() < deadline:
            time.sleep(0.05)
        for headers in (HEADERS, OTHER) * 6:
            answer, took = ask(door, headers, CHAT)
            assert answer.status_code == 503
            assert answer.json()["error"]["type"] == "server_error"
            assert answer.headers["Retry-After"] == "5"
            assert took < 1
        assert [ask(door, OTHER, MODELS)[0].status_code, ask(door, HEADERS, STORED)[0].status_code] == [200, 200]
        assert [one.result()[0].status_code for one in full] == [200] * ROOM, "what was under way is not touched"
    assert ask(door, OTHER, CHAT)[0].status_code == 200, "there is room again"
    lines = door.log(at_least=12 + ROOM + 3)
    assert {line["cause"] for line in lines if line["status"] == 503} == {"no_engine"}
    assert len([entry for entry in recorder.seen() if "/chat/" in entry["head"]]) == ROOM + 1
