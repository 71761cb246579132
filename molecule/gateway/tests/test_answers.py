"""What goes upstream, what comes back, limits and streaming."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from gateway.support import EDGE4, HOSTILE, NAME, Seen, Send, chat, check_uniform, request
from lab.testing import wait_for
from testinfra.host import Host


def test_only_a_closed_list_of_headers_reaches_the_upstream(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    answer = send([chat(keys["acme"], {"model": "x"}, *HOSTILE)])[0]
    body = {"model": "x"}
    assert answer.header("X-Request-Id") not in (None, "mine")
    (entry,) = seen()
    assert entry["head"] == (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {NAME}\r\nContent-Type: application/json\r\n"
        f"X-Request-Id: {answer.header('X-Request-Id')}\r\nAuthorization: Bearer {keys['upstream']}\r\n"
        f"Content-Length: {len(json.dumps(body))}\r\n\r\n"
    )
    assert entry["body"] == json.dumps(body)


def test_a_chunked_body_is_handed_on_whole(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    text = json.dumps({"model": "x" * 3000})
    chunks = "".join(f"{len(part):x};extension=1\r\n{part}\r\n" for part in (text[:1000], text[1000:]))
    headers = ("Content-Type: application/json", "Transfer-Encoding: chunked")
    raw = request("POST /v1/chat/completions HTTP/1.1", keys["acme"], *headers)
    assert send([raw + chunks + "0\r\nTrailer: x\r\n\r\n"])[0].status == 200
    assert seen()[0]["body"] == text


def test_content_types_outside_the_list_are_dropped(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    types = ("text/plain", "application/xml", "application/json\tx", "multipart/form-data", "x" * 500)
    line = "POST /v1/chat/completions HTTP/1.1"
    send([request(line, keys["acme"], f"Content-Type: {one}", body="{}") for one in types])
    assert len(seen()) == len(types)
    assert [entry["head"] for entry in seen() if "Content-Type" in entry["head"]] == []


@pytest.mark.parametrize(
    ("status", "answered"),
    [
        *((same, same) for same in (400, 404, 422, 429, 503, 504)),
        *((status, 502) for status in (307, 401, 403, 500, 501)),
    ],
)
def test_errors_of_the_upstream(send: Send, keys: dict[str, str], status: int, answered: int) -> None:
    behave = {"status": status, "header": "Location: http://10.207.1.11:8000/inside"}
    answer = send([chat(keys["acme"], {"behave": behave})])[0]
    assert answer.status == answered
    assert ("insides" in answer.text) == (status == answered and status < 500)
    assert (answer.header("Location") is None) or (status < 500 and status == answered)
    if answered >= 500:
        assert set(json.loads(answer.body)["error"]) == {"message", "type", "param", "code"}


def test_the_upstream_cannot_steer_nginx(send: Send, keys: dict[str, str]) -> None:
    answer = send([chat(keys["acme"], {"behave": {"header": "X-Accel-Redirect: /v1/models"}})])[0]
    assert (answer.status, "stand-in" in answer.body) == (200, True)


def test_silence_and_a_broken_connection(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    """A connection has two seconds, an answer three: silence in between is a prefill."""
    behaviours: list[dict[str, Any]] = [{"sleep": 6}, {"drop": True}, {"sleep": 2.4}]
    answers = send([chat(keys["acme"], {"behave": behave}) for behave in behaviours])
    assert [answer.status for answer in answers] == [504, 502, 200]
    check_uniform(answers[:2])
    assert len(seen()) == 3, "a request that was sent must not be sent again"


def test_bodies_too_large(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    line = "POST /v1/completions HTTP/1.1"
    fits, over = "x" * 1024, "x" * 1025
    chunked = request(line, keys["acme"], "Transfer-Encoding: chunked") + f"{len(over):x}\r\n{over}\r\n0\r\n\r\n"
    with_body = request("GET /v1/models HTTP/1.1", keys["acme"], body="xx")
    announced = request("POST /v1/chat/completions HTTP/1.1", keys["acme"], "Content-Length: 9999999999")
    plain = [request(line, keys["acme"], body=body) for body in (fits, over)]
    answers = send([*plain, chunked, with_body, announced])
    assert [answer.status for answer in answers] == [200, 413, 413, 413, 413]
    check_uniform(answers[1:])
    assert len(seen()) == 1


def test_headers_too_large(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    lines = [f"X-A{number}: {'a' * 1000}" for number in range(30)]
    line = "GET /v1/models HTTP/1.1"
    answers = send([request(line, keys["acme"], *lines), request(line, keys["acme"], "X: " + "a" * 9000)])
    assert [answer.status for answer in answers] == [400, 400]
    check_uniform(answers)
    assert seen() == []


def test_a_tenant_is_slowed_down_and_others_are_not(send: Send, keys: dict[str, str]) -> None:
    time.sleep(4)  # the burst of an earlier run is given back at one a second
    line = "GET /v1/models HTTP/1.1"
    slow = sorted(send([request(line, keys["slow"])] * 6), key=lambda answer: answer.status or 0)
    assert [answer.status for answer in slow] == [200, 200, 200, 429, 429, 429]
    assert slow[-1].header("Retry-After") == "1"
    check_uniform(slow[3:])
    assert {answer.status for answer in send([request(line, keys["acme"])] * 6)} == {200}


def curl(key: str, body: dict[str, Any], options: str = "") -> str:
    """Return the command that asks for a chat from a node."""
    return (
        f"curl --silent --insecure {options} --resolve {NAME}:443:{EDGE4} --header 'Authorization: Bearer {key}' "
        f"--data '{json.dumps(body)}' https://{NAME}/v1/chat/completions"
    )


def test_requests_at_the_same_time(observer: Host, send: Send, keys: dict[str, str]) -> None:
    command = curl(keys["narrow"], {"behave": {"sleep": 2}})
    observer.run_expect([0], f"nohup {command} >/dev/null 2>&1 & sleep 0.5")
    assert send([request("GET /v1/models HTTP/1.1", keys["narrow"])])[0].status == 429
    time.sleep(3)
    assert send([request("GET /v1/models HTTP/1.1", keys["narrow"])])[0].status == 200


def test_streams_are_not_buffered(send: Send, keys: dict[str, str]) -> None:
    answer = send([chat(keys["acme"], {"stream": True})])[0]
    assert [f'"number": {number}' in answer.text for number in range(5)] == [True] * 5
    moments = [moment for moment, _size in answer.marks]
    assert moments[0] < 0.5 and moments[-1] - moments[0] > 1.0
    assert len(moments) >= 5


@pytest.mark.parametrize(
    ("body", "waiting"),
    [({"behave": {"sleep": 2.5}}, 1), ({"stream": True, "events": 60}, 0)],
    ids=["silent", "stream"],
)
def test_a_client_that_leaves_frees_the_upstream(
    observer: Host, engines: list[Host], keys: dict[str, str], body: dict[str, Any], waiting: int
) -> None:
    def connections(state: str = "established") -> int:
        # The stand-in notices only when it writes: what nginx has closed waits there in CLOSE-WAIT until then.
        return sum(int(engine.check_output(f"ss -Htn state {state} sport = :8000 | wc -l")) for engine in engines)

    # Idle connections of earlier tests are closed after 4 seconds.
    wait_for(lambda: connections() == connections("close-wait") == 0, 15, "engines are still busy with earlier tests")
    observer.run_expect([28], curl(keys["acme"], body, "--max-time 1"))
    time.sleep(0.5)
    assert connections() == 0
    wait_for(lambda: connections("close-wait") == waiting, 1, "the engine goes on with a stream nobody reads")


def test_every_answer_of_the_gateway_carries_its_headers(send: Send, keys: dict[str, str]) -> None:
    line = "GET /v1/models HTTP/1.1"
    lines = [(line, keys["acme"]), (line, None), ("GET /x HTTP/1.1", keys["acme"])]
    for answer in send([request(line, key) for line, key in lines]):
        assert answer.header("Server") == "nginx"
        assert answer.header("Strict-Transport-Security") == "max-age=63072000"
        assert answer.header("Cache-Control") == "no-store"
        assert len(answer.header("X-Request-Id") or "") == 32
    not_allowed = send([request("DELETE /v1/models HTTP/1.1", keys["acme"])])[0]
    assert (not_allowed.status, not_allowed.header("Allow")) == (405, "GET")
