"""A good request to every route of every group a gateway may offer, and frames of a WebSocket: handed on as they are."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils import catalogue
from gateway.support import EDGE4, LAB, NAME, Seen, Send, check_uniform, request
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

# Those of a tenant that stores no answers; WebSockets are below.
ROUTES = [
    route
    for route in catalogue.routes("0.32.0")
    if route.group and route.group != "responses-store" and route.method != "WEBSOCKET"
]
BOUNDARY = "----a-boundary-of-the-client-7MA4YWxkTrZu0gW"
# Every byte there is, more of them than nginx keeps in memory.
SOUND = bytes(range(256)).decode("latin-1") * 2000


def upload(path: str) -> str:
    """Return the body of a form with a file, as OpenAI's clients send it."""
    parts = [
        f'Content-Disposition: form-data; name="file"; filename="{path}.wav"\r\nContent-Type: audio/wav\r\n\r\n{SOUND}',
        'Content-Disposition: form-data; name="model"\r\n\r\nstand-in',
    ]
    return "".join(f"--{BOUNDARY}\r\n{part}\r\n" for part in parts) + f"--{BOUNDARY}--\r\n"


def test_the_catalogue_s_groups_are_all_here() -> None:
    groups = {route.group for route in ROUTES}
    assert groups == {*catalogue.user_groups("0.32.0")} - {"realtime", "responses-store"}


def test_every_route_gets_the_bytes_that_were_sent(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    raw, expected = [], []
    for route in ROUTES:
        line, form = f"{route.method} {route.path} HTTP/1.1", route.group == "audio"
        body = upload(route.path) if form else f'{{ "of":"{route.path}",\t"n" : [1e0, "\xff\x80\\u00e9"]}}\n'
        kind = f"multipart/form-data; boundary={BOUNDARY}" if form else "application/json"
        if route.method == "GET":
            body, kind = "", ""
        headers = [f"Content-Type: {kind}"] if kind else []
        raw.append(request(line, keys["every"], *headers, body=body))
        expected.append((line, kind, hashlib.sha256(body.encode("latin-1")).hexdigest()))
    assert [answer.status for answer in send(raw)] == [200] * len(raw)
    found = []
    for entry in seen():
        line, *headers = entry["head"].strip().split("\r\n")
        told = dict(header.split(": ", 1) for header in headers)
        found.append((line, told.get("Content-Type", ""), entry["body_sha256"]))
        assert int(told.get("Content-Length", "0")) == entry["body_bytes"]
    assert sorted(found) == sorted(expected)


async def opened(key: str, model: str = "stand-in") -> ClientConnection:
    """Open a WebSocket as the clients of OpenAI's realtime API do."""
    context = ssl.create_default_context(cafile=str(LAB / "tls" / "ca.pem"))
    url = f"wss://{NAME}/v1/realtime?model={model}"
    headers = {"Authorization": f"Bearer {key}"}
    return await connect(url, host=EDGE4, port=443, ssl=context, additional_headers=headers, proxy=None)


def test_frames_go_both_ways(keys: dict[str, str]) -> None:
    messages: list[str | bytes] = [
        "hello",
        json.dumps({"audio": "x" * 300}),
        bytes(range(256)) * 400,
        "",
        "\u00e9\u4e2d",
    ]

    async def talk() -> list[str | bytes]:
        async with await opened(keys["every"]) as socket:
            for message in messages:
                await socket.send(message)
            found: list[str | bytes] = [await asyncio.wait_for(socket.recv(), 10) for _message in messages]
            await asyncio.wait_for(await socket.ping(b"a ping"), 10)
        assert socket.close_code == 1000
        return found

    assert asyncio.run(talk()) == messages


def test_a_model_without_realtime_is_not_found(send: Send, keys: dict[str, str]) -> None:
    """vLLM refuses the handshake with 403 then, which is not about the tenant and no failure either."""
    with pytest.raises(InvalidStatus) as refused:
        asyncio.run(opened(keys["every"], "none"))
    (unknown,) = send([request("GET /v1/nothing HTTP/1.1", keys["every"])])
    check_uniform([unknown])
    assert (refused.value.response.status_code, refused.value.response.body) == (404, unknown.body.encode())
