"""What tenants may do and from where, keys that end, and sources that try keys."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from gateway.support import EDGE4, EDGE6, Answer, Seen, Send, playbook, request
from testinfra.host import Host

MODELS = "GET /v1/models HTTP/1.1"
MESSAGES = "POST /v1/messages HTTP/1.1"
LOG = "/var/log/hardened-vllm-gateway/access.log"


def logged(gateway: Host, answer: Answer) -> dict[str, str]:
    time.sleep(0.2)
    lines = map(json.loads, gateway.file(LOG).content_string.splitlines())
    return next(line for line in lines if line["request_id"] == answer.header("X-Request-Id"))


def test_a_key_that_is_over(gateway: Host, send: Send, seen: Seen) -> None:
    (answer,) = send([request(MODELS, "a-key-of-acme-that-is-over-0123")])
    assert answer.status == 401
    assert seen() == []
    line = logged(gateway, answer)
    assert (line["cause"], line["tenant"], line["key_id"]) == ("expired_key", "acme", "k3")


def test_a_tenant_has_the_routes_it_was_given(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    chat = "POST /v1/chat/completions HTTP/1.1"
    unknown = send([request("POST /v1/unheard-of HTTP/1.1", keys["slow"])])[0]
    denied = send(
        [request(chat, keys["slow"], body="{}"), request(MODELS, keys["small"]), request(MODELS, keys["store"])]
    )
    assert [answer.status for answer in denied] == [404, 404, 404]
    assert {answer.body for answer in denied} == {unknown.body}, "a route somebody else has looks like none"
    assert send([request("PUT /v1/chat/completions HTTP/1.1", keys["slow"])])[0].status == 404
    assert seen() == []
    assert send([request(chat, keys["acme"], body="{}")])[0].status == 200


def test_networks_a_tenant_s_keys_are_good_from(gateway: Host, send: Send, seen: Seen, keys: dict[str, str]) -> None:
    elsewhere, nobody = send([request(MODELS, keys["elsewhere"]), request(MODELS, "nobody-0123456789")])
    assert (elsewhere.status, elsewhere.body) == (401, nobody.body)
    assert logged(gateway, elsewhere)["cause"] == "other_network"
    line = "POST /v1/completions HTTP/1.1"
    over_ipv6 = send([request(line, keys["small"], body="{}")], address=EDGE6)[0]
    assert over_ipv6.status == 401
    assert seen() == []
    assert send([request(line, keys["small"], body="{}")])[0].status == 200


def test_a_tenant_s_bodies(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    fits, over = "x" * 100, "x" * 101
    lines = ["POST /v1/completions HTTP/1.1", "POST /v1/chat/completions HTTP/1.1"]
    chunked = request(lines[1], keys["small"], "Transfer-Encoding: chunked") + f"{len(over):x}\r\n{over}\r\n0\r\n\r\n"
    answers = send([request(line, keys["small"], body=body) for line in lines for body in (fits, over)] + [chunked])
    assert [answer.status for answer in answers] == [200, 413, 200, 413, 413]
    passed = sorted(entry["head"].split(" ")[1] for entry in seen())
    assert passed == ["/v1/chat/completions", "/v1/completions"]
    assert send([request(lines[1], keys["acme"], body=over)])[0].status == 200
    assert {entry["body"] for entry in seen()} == {fits, over}


def test_the_header_of_anthropic_s_clients(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    header, version = f"x-api-key: {keys['acme']}", "anthropic-version: 2023-06-01"
    count = "POST /v1/messages/count_tokens HTTP/1.1"
    answers = send([request(line, None, header, version, body="{}") for line in (MESSAGES, count)])
    assert [answer.status for answer in answers] == [200, 200]
    for entry in seen():
        assert keys["acme"] not in entry["head"]
        assert "api-key" not in entry["head"].lower() and "anthropic" not in entry["head"].lower()
        assert f"Authorization: Bearer {keys['upstream']}\r\n" in entry["head"]


def test_that_header_is_good_for_nothing_else(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    good = f"x-api-key: {keys['acme']}"
    warped = ["/v1/messages/", "/V1/messages", "/v1/%6dessages", "//v1/messages", "/v1/messages?beta=true"]
    raw = [request(f"POST {path} HTTP/1.1", None, good, body="{}") for path in warped]
    raw += [request(MODELS, None, good), request("POST /v1/chat/completions HTTP/1.1", None, good, body="{}")]
    # Two ways at once tell nothing about which of them is meant.
    raw += [request(MESSAGES, keys["acme"], good, body="{}"), request(MESSAGES, "wrong-0123456789abc", good, body="{}")]
    raw += [
        request(MESSAGES, None, f"x-api-key: {value}", body="{}") for value in (f"Bearer {keys['acme']}", "", "x" * 40)
    ]
    answers = send(raw)
    assert {answer.status for answer in answers} <= {401, 404}
    assert [answer.status for answer in answers[5:]] == [401] * 7
    assert seen() == []


@pytest.fixture
def five_a_minute(send: Send) -> Iterator[None]:
    # nginx goes on counting where it was: the many tries of other tests have to be forgotten at their own rate.
    time.sleep(2)
    for address in (EDGE4, EDGE6):
        assert send([request(MODELS, "wrong-0123456789abc")], address=address)[0].status == 401
    strict = playbook("-e", "gateway_scenario_failed_keys=5")
    assert strict.returncode == 0, strict.stdout
    yield
    back = playbook()
    assert back.returncode == 0, back.stdout


def test_many_wrong_keys_without_a_limit(send: Send) -> None:
    tried = send([request(MODELS, f"wrong-key-number-{number:06}") for number in range(200)])
    assert {answer.status for answer in tried} == {401}


@pytest.mark.usefixtures("five_a_minute")
def test_sources_that_try_keys_are_slowed_down(gateway: Host, send: Send, seen: Seen, keys: dict[str, str]) -> None:
    tried = send([request(MODELS, f"wrong-key-number-{number:06}") for number in range(40)])
    statuses = [answer.status for answer in tried]
    assert 5 <= statuses.count(401) <= 7
    assert statuses.count(429) == 40 - statuses.count(401)
    refused = next(answer for answer in tried if answer.status == 429)
    assert refused.header("Retry-After") == "60"
    assert logged(gateway, refused)["cause"] == "too_many_failures"
    assert seen() == []
    assert send([request(MODELS, keys["acme"])])[0].status == 200, "who has a key is let in from there"
    # Another source has its own count.
    assert send([request(MODELS, "wrong-0123456789abc")], address=EDGE6)[0].status == 401
