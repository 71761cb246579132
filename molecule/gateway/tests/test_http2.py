"""The same refusals over HTTP/2, and what only HTTP/2 can say."""

from __future__ import annotations

import json
import shlex

import pytest
from gateway.disguises import CHAT, DENIED, METHODS, WARPED, disguises
from gateway.support import EDGE4, HOSTILE, NAME, Answer, Seen, Send, check_uniform, http2
from testinfra.host import Host

HANDSHAKE = [["sec-websocket-version", "13"], ["sec-websocket-key", "AQIDBAUGBwgJCgsMDQ4PEA=="]]


def refused(answers: list[Answer], requests: list[list[list[str]]]) -> None:
    """Assert that every request was answered, with a refusal that looks like any other."""
    pairs = list(zip(requests, answers, strict=True))
    assert [(fields[:3], answer) for fields, answer in pairs if answer.status not in (400, 404, 405, 421)] == []
    check_uniform(answer for fields, answer in pairs if [":method", "HEAD"] not in fields)


def test_denied_and_warped_routes(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    paths = [(method, path) for method, name in DENIED for path in disguises(name)]
    paths += [(method, path) for path in WARPED for method in ("GET", "POST")]
    paths += [("POST", path) for path in ("", "metrics", f"http://{NAME}{CHAT}", f"{CHAT} HTTP/1.1")]
    requests = [http2(path, keys["acme"], method) for method, path in paths]
    refused(send(requests), requests)
    assert seen() == []


def test_methods(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    methods = [*METHODS, "CONNECT", "PRI", "P\x00ST", "POST ", ""]
    requests = [http2(CHAT, keys["acme"], method) for method in methods]
    requests += [http2("/v1/models", keys["acme"], method) for method in methods if method != "GET"]
    refused(send(requests), requests)
    assert seen() == []


def test_tunnels(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    """CONNECT, and the extended one that opens WebSockets over HTTP/2 (RFC 8441), which no route is offered with."""
    key = ["authorization", f"Bearer {keys['acme']}"]
    requests = [
        *([[":method", "CONNECT"], [":authority", name], key] for name in ("10.207.1.11:8000", f"{NAME}:443", NAME)),
        *(
            [[":protocol", "websocket"], *http2(path, keys["acme"], method), *HANDSHAKE]
            for method, path in (("CONNECT", "/v1/realtime?model=a"), ("CONNECT", "/metrics"), ("GET", "/v1/models"))
        ),
        [*http2("/v1/realtime?model=a", keys["acme"], "GET"), ["upgrade", "websocket"], *HANDSHAKE],
    ]
    refused(send(requests), requests)
    assert seen() == []


def handed_on(request_id: str, key: str, *more: str) -> str:
    """Return the one request an engine is to see."""
    first = [f"POST {CHAT} HTTP/1.1", f"Host: {NAME}"]
    return "\r\n".join([*first, *more, f"X-Request-Id: {request_id}", f"Authorization: Bearer {key}", "", ""])


@pytest.mark.parametrize(
    ("field", "status"),
    [
        (("x-a", "b\r\nTransfer-Encoding: chunked"), 400),
        (("x-a\r\nb", "c"), 400),
        (("host", "other.example"), 400),
        ((":path", "/metrics"), 400),
        ((":method", "GET"), 400),
        ((":unknown", "x"), 400),
        (("content-length", "5"), 400),
        (("X-Upper", "1"), 400),
        (("transfer-encoding", "chunked"), 200),
        (("connection", "x-a"), 200),
        (("te", "gzip"), 200),
    ],
)
def test_fields_that_forge_http1(
    send: Send, seen: Seen, keys: dict[str, str], field: tuple[str, str], status: int
) -> None:
    (answer,) = send([[*http2(CHAT, keys["acme"]), list(field)]])
    assert answer.status == status
    if status != 200:
        check_uniform([answer])
        assert seen() == []
        return
    (entry,) = seen()
    words = entry["head"].split("\r\n")
    request_id = next(word.split(" ")[1] for word in words if word.startswith("X-Request-Id: "))
    # nginx says that there is no body where it was told that there could be one.
    assert entry["head"].replace("Content-Length: 0\r\n", "") == handed_on(request_id, keys["upstream"])
    assert entry["body_bytes"] == 0


def test_only_a_closed_list_of_headers_reaches_the_upstream(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    hostile = [[name.lower(), value] for name, value in (line.split(": ", 1) for line in HOSTILE)]
    body = json.dumps({"model": "x"})
    fields = [*http2(CHAT, keys["acme"]), ["content-type", "application/json"], *hostile]
    (answer,) = send([{"headers": fields, "body": body}])
    assert answer.status == 200
    (entry,) = seen()
    request_id = entry["head"].partition("X-Request-Id: ")[2].partition("\r\n")[0]
    assert len(request_id) == 32
    more = f"Content-Length: {len(body)}\r\n\r\n"
    expected = handed_on(request_id, keys["upstream"], "Content-Type: application/json")
    assert entry["head"] == expected.removesuffix("\r\n") + more
    assert entry["body"] == body


def test_headers_of_refusals(observer: Host, keys: dict[str, str]) -> None:
    """By curl, since raw requests do not read what HPACK compresses."""
    asked = ["/v1/models", "--request PUT /v1/models", "/metrics", "/v1/models/%00", "--header 'Host: x.example' /"]
    key = f"--header 'Authorization: Bearer {keys['acme']}'"
    argv = f"curl --silent --insecure --http2 --resolve {NAME}:443:{EDGE4} --dump-header - --output /dev/null"
    found = []
    for words, who in zip(asked, ("", *[key] * 4), strict=True):
        *options, path = shlex.split(words)
        text = observer.check_output(f"{argv} {who} {shlex.join(options)} https://{NAME}{path}")
        status, *lines = text.strip().replace("\r", "").split("\n")
        headers = dict(line.split(": ", 1) for line in lines)
        assert (headers["server"], headers["content-type"]) == ("nginx", "application/json")
        found.append(status.split()[:2])
    assert found == [["HTTP/2", status] for status in ("401", "405", "404", "400", "421")]
