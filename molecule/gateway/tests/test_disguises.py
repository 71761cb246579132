"""Denied routes in every disguise, and allowed routes in any form but their own."""

from __future__ import annotations

from gateway.disguises import CHAT, DENIED, ODD_LINES, WARPED, WITHOUT_VERSION, disguises, framings
from gateway.support import EDGE6, NAME, Answer, Seen, Send, check_uniform, http2, request

REFUSALS = (400, 404, 405, 421)


def refused(answers: list[Answer], lines: list[str]) -> None:
    """Assert that every request was answered, with a refusal that looks like any other."""
    pairs = list(zip(lines, answers, strict=True))
    old = [answer for line, answer in pairs if line in WITHOUT_VERSION]
    whole = [(line, answer) for line, answer in pairs if line not in WITHOUT_VERSION]
    assert [(line[:120], answer.status) for line, answer in whole if answer.status not in REFUSALS] == []
    check_uniform(answer for line, answer in whole if not line.startswith("HEAD "))
    assert {answer.body for line, answer in whole if line.startswith("HEAD ")} <= {""}
    assert {answer.text for answer in old} <= {answer.body for _line, answer in whole if answer.status == 400}


def test_the_catalogue_has_enough_to_deny() -> None:
    assert len({path for _method, path in DENIED}) > 50
    posted = {"tokenize", "invocations", "pause", "v1/load_lora_adapter", "collective_rpc"}
    assert {("POST", path) for path in posted} | {("GET", path) for path in posted | {"metrics", "docs"}} <= {*DENIED}


def test_denied_routes_in_every_disguise(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    lines = [f"{method} {path} HTTP/1.1" for method, name in DENIED for path in disguises(name)]
    assert len(lines) > 5000
    refused(send([request(line, keys["acme"]) for line in lines]), lines)
    assert seen() == []


def test_allowed_routes_in_any_other_form(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    lines = [f"{method} {path} HTTP/1.1" for method in ("GET", "POST") for path in WARPED]
    refused(send([request(line, keys["acme"]) for line in lines]), lines)
    assert seen() == []


def test_odd_request_lines(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    refused(send([request(line, keys["acme"]) for line in ODD_LINES]), ODD_LINES)
    assert seen() == []


def test_framings(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    raw = framings(keys["acme"])
    answers = send(raw)
    assert [entry for entry in seen() if not entry["head"].startswith(f"POST {CHAT} HTTP/1.1\r\n")] == []
    for entry in seen():
        assert "/metrics" not in entry["head"] + entry["body"]
    # Only the folded header is plain noise to nginx, and the second Host is refused like the rest.
    assert [answer.status for answer in answers if answer.status not in (400, 501)] == []


def test_well_formed_requests_do_pass(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    models = request("GET /v1/models HTTP/1.1", keys["acme"])
    answers = send([models, http2("/v1/models", keys["acme"], "GET")]) + send([models], address=EDGE6)
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert [entry["head"].split("\r\n")[0] for entry in seen()] == ["GET /v1/models HTTP/1.1"] * 3


def test_other_host_names_are_misdirected(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    names = ("other.example", "10.207.1.11", "localhost", f"{NAME}.other.example", "gateway")
    answers = send([request("GET /v1/models HTTP/1.1", keys["acme"], host=name) for name in names])
    assert [answer.status for answer in answers] == [421] * len(names)
    check_uniform(answers)
    by_address = send([request("GET /v1/models HTTP/1.1", keys["acme"], host="10.207.3.20")], sni="")
    assert by_address[0].status == 200
    plain = send([request("GET /v1/models HTTP/1.1", keys["acme"])], sni=None)
    assert plain[0].status == 400
    assert len(seen()) == 1
