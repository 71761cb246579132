"""Who passes: one bearer token, known by its digest."""

from __future__ import annotations

from gateway.support import Seen, Send, request

MODELS = "GET /v1/models HTTP/1.1"


def test_no_key_and_wrong_keys(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    good = keys["acme"]
    schemes = ["", "Bearer", "Bearer ", good, f"Basic {good}", f"Token {good}", f"Bearer={good}", f"Bearer  {good}"]
    schemes += [f"Bearer\t{good}", f"Bearer {good} x", f"Bearer {good},{good}", f"Bearer {good}, Bearer {good}"]
    tokens = [f"{good}x", good[:-1], f"x{good}", good.swapcase(), keys["upstream"], f"{good}\xff", "a" * 4000]
    tokens += ['""', f'"{good}"', "null", "undefined", "0"]
    values = [*schemes, *(f"Bearer {token}" for token in tokens)]
    elsewhere = [
        f"X-Api-Key: {good}",
        f"Api-Key: {good}",
        f"Cookie: key={good}",
        f"Proxy-Authorization: Bearer {good}",
        "X: y",
    ]
    headers = [f"Authorization: {value}" for value in values] + elsewhere
    answers = send([request(MODELS, None, header) for header in headers])
    pairs = zip(headers, answers, strict=True)
    assert [(header, answer.status) for header, answer in pairs if answer.status != 401] == []
    assert len({answer.body for answer in answers}) == 1
    assert {answer.header("WWW-Authenticate") for answer in answers} == {"Bearer"}
    in_query = send([request(f"GET /v1/models?{name}={good} HTTP/1.1") for name in ("key", "api_key", "access_token")])
    assert [answer.status for answer in in_query] == [401] * 3
    assert seen() == []


def test_two_authorization_headers(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    good, wrong = keys["acme"], "wrong-0123456789abcdef"
    pairs = [(good, good), (wrong, good), (good, wrong)]
    answers = send([request(MODELS, second, f"Authorization: Bearer {first}") for first, second in pairs])
    assert {answer.status for answer in answers} <= {400, 401}
    assert seen() == []


def test_every_key_of_a_tenant_passes_in_any_case_of_the_scheme(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    second = "a-second-key-of-acme-0123456789"
    values = (f"Bearer {keys['acme']}", f"bearer {second}", f"BEARER {second}")
    answers = send([request(MODELS, None, f"Authorization: {value}") for value in values])
    assert [answer.status for answer in answers] == [200] * 3
    for entry in seen():
        assert entry["head"].count("Authorization") == 1
        assert f"Authorization: Bearer {keys['upstream']}\r\n" in entry["head"]
        assert keys["acme"] not in entry["head"] and second not in entry["head"]


def test_without_a_key_limits_and_routes_stay_unknown(send: Send, seen: Seen) -> None:
    large = "Content-Length: 99999999"
    lines = [MODELS, "GET /nothing HTTP/1.1", "DELETE /v1/models HTTP/1.1", "POST /v1/chat/completions HTTP/1.1"]
    answers = send([request(line) for line in lines] + [request(lines[-1], None, large)])
    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1
    assert seen() == []
