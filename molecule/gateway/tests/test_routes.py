"""Routes that are more than a method and a path: ids, queries, WebSockets; and browsers."""

from __future__ import annotations

import pytest
from gateway.support import NAME, Seen, Send, request

ID = "resp_0123456789abcdef"
STORED = f"/v1/responses/{ID}"
WEBSOCKET = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==")
REALTIME = "GET /v1/realtime HTTP/1.1"


def lines(seen: Seen) -> list[str]:
    return [entry["head"].split("\r\n")[0] for entry in seen()]


def test_ids_and_queries_that_pass(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    passes = [f"GET {STORED}", f"GET {STORED}?stream=true", f"GET {STORED}?starting_after=3&stream=false"]
    passes.append(f"POST {STORED}/cancel")
    for line in passes:
        assert send([request(f"{line} HTTP/1.1", keys["store"])])[0].status == 200, line
    assert sorted(lines(seen)) == sorted(f"{line} HTTP/1.1" for line in passes)
    for entry in seen():
        assert entry["body_bytes"] == 0


HOSTILE_IDS = [
    *("resp_", "resp_1", "1", "..", ".", "resp_0123456789/..", "resp_0123456789/../../metrics", "resp_" + "a" * 65),
    *(f"{ID}%2f..%2f..%2f..%2fmetrics", f"{ID}/", f"{ID}/render", f"{ID}//cancel", f"{ID};x", f"{ID}%00", f"{ID}%20"),
    *(f"{ID}?stream=true%00", f"{ID}?stream=1", f"{ID}?include=x", f"{ID}?", f"{ID}&stream=true", f"{ID}?stream=true&"),
    *(f"{ID}?stream=true&starting_after=1&stream=true", f"{ID}?starting_after=-1", f"{ID}?starting_after=" + "1" * 10),
    *(f"resp_0123456789\xff{end}" for end in ("", "\xe9")),
    "resp_0123456789#x",
    "%72esp_0123456789abcdef",
    "RESP_0123456789abcdef",
]


def test_ids_and_queries_that_do_not(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    raw = [f"{method} /v1/responses/{name} HTTP/1.1" for name in HOSTILE_IDS for method in ("GET", "POST")]
    raw += [f"POST {STORED}/cancel{end} HTTP/1.1" for end in ("?stream=true", "/", "%2f", "?")]
    raw += [f"GET http://{NAME}{STORED} HTTP/1.1", f"GET {STORED} HTTP/1.0", "GET /v1/responses?stream=true HTTP/1.1"]
    answers = send([request(line, keys["store"]) for line in raw])
    wrong = [
        (line, answer.status) for line, answer in zip(raw, answers, strict=True) if answer.status not in (400, 404, 405)
    ]
    assert wrong == []
    head = [
        [":method", "GET"],
        [":scheme", "https"],
        [":authority", NAME],
        ["authorization", f"Bearer {keys['store']}"],
    ]
    over_http2 = send([[*head[:1], [":path", f"/v1/responses/{name}"], *head[1:]] for name in HOSTILE_IDS])
    assert {answer.status for answer in over_http2} <= {400, 404}
    assert seen() == []
    assert send([[*head[:1], [":path", f"{STORED}?stream=true"], *head[1:]]])[0].status == 200
    assert lines(seen) == [f"GET {STORED}?stream=true HTTP/1.1"]


def test_stored_answers_are_not_for_other_tenants(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    assert send([request(f"GET {STORED} HTTP/1.1", keys["acme"])])[0].status == 404
    assert seen() == []


def test_a_websocket_is_opened_with_a_handshake_of_our_own(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    more = (
        "Sec-WebSocket-Protocol: secret, x",
        "Sec-WebSocket-Extensions: permessage-deflate",
        "Origin: https://x.example",
    )
    text = request("GET /v1/realtime?model=a/b HTTP/1.1", keys["acme"], *WEBSOCKET, *more)
    text = text.replace("Connection: close", "Connection: keep-alive, Upgrade")
    (answer,) = send([text + "\x81\x05hello"])
    assert answer.status == 101
    assert answer.text.endswith("\x81\x05hello")
    (entry,) = seen()
    assert entry["head"] == (
        f"GET /v1/realtime?model=a/b HTTP/1.1\r\nHost: {NAME}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n"
        f"X-Request-Id: {answer.header('X-Request-Id')}\r\nAuthorization: Bearer {keys['upstream']}\r\n\r\n"
    )


def test_what_opens_no_websocket(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    good = keys["acme"]
    assert [
        answer.status for answer in send([request(REALTIME, key, *WEBSOCKET) for key in (None, "wrong-0123456789")])
    ] == [401, 401]
    broken = [
        (),
        WEBSOCKET[:2],
        WEBSOCKET[1:],
        ("Upgrade: h2c", *WEBSOCKET[1:]),
        (WEBSOCKET[0], "Sec-WebSocket-Version: 8", WEBSOCKET[2]),
        (*WEBSOCKET[:2], "Sec-WebSocket-Key: short"),
        (*WEBSOCKET[:2], "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\tx"),
    ]
    assert {answer.status for answer in send([request(REALTIME, good, *headers) for headers in broken])} == {400}
    elsewhere = ["POST /v1/realtime", "GET /v1/realtime/", "GET /v1/realtime?model=%2e", "GET /v1/realtime?x=1"]
    assert {
        answer.status for answer in send([request(f"{line} HTTP/1.1", good, *WEBSOCKET) for line in elsewhere])
    } == {404, 405}
    # No other route upgrades: the header is not passed on.
    plain = send(
        [
            request(line, good, *WEBSOCKET, body=body)
            for line, body in (("GET /v1/models HTTP/1.1", ""), ("POST /v1/chat/completions HTTP/1.1", "{}"))
        ]
    )
    assert [answer.status for answer in plain] == [200, 200]
    for entry in seen():
        assert "upgrade" not in entry["head"].lower() and "websocket" not in entry["head"].lower()
    assert len(seen()) == 2


@pytest.mark.parametrize("key", ["acme", None])
def test_pages_of_declared_origins(send: Send, seen: Seen, keys: dict[str, str], key: str | None) -> None:
    asked = ("Origin: https://app.example.org", "Access-Control-Request-Method: POST")
    paths = ("/v1/chat/completions", "/metrics", "/nothing")
    answers = send([request(f"OPTIONS {path} HTTP/1.1", keys.get(key or ""), *asked) for path in paths])
    for answer in answers:
        assert answer.status == 204
        assert answer.header("Access-Control-Allow-Origin") == "https://app.example.org"
        assert answer.header("Access-Control-Allow-Methods") == "GET, POST"
        assert answer.header("Access-Control-Allow-Credentials") is None
    assert seen() == [], "nginx answers by itself"


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "https://app.example.org.evil.example", "null", "*", "http://app.example.org"]
)
def test_pages_of_other_origins(send: Send, seen: Seen, keys: dict[str, str], origin: str) -> None:
    header = f"Origin: {origin}"
    line = "OPTIONS /v1/models HTTP/1.1"
    answers = send([request(line, None, header), request(line, keys["acme"], header)])
    assert [answer.status for answer in answers] == [401, 405]
    assert seen() == []
    answers += send([request("GET /v1/models HTTP/1.1", keys["acme"], header)])
    for answer in answers:
        assert [line for line in answer.text.split("\r\n") if line.lower().startswith("access-control")] == []


def test_answers_to_pages(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    header = "Origin: HTTPS://APP.example.org"
    good, refused = send([request("GET /v1/models HTTP/1.1", key, header) for key in (keys["acme"], None)])
    for answer in (good, refused):
        assert answer.header("Access-Control-Allow-Origin") == "https://app.example.org", "ours, not the client's words"
        assert answer.header("Vary") == "Origin"
    assert "Origin" not in seen()[0]["head"]
