"""Denied routes in every disguise, and allowed routes in any form but their own, over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

from ansible_collections.hardened.vllm.plugins.plugin_utils import catalogue
from gateway.support import EDGE6, NAME, Answer, Seen, Send, request

# Every path of vLLM 0.32.0 that the scenario's gateway does not pass, with something in the place of a name.
DENIED = sorted(
    {
        route.path.strip("/").replace("{", "").replace("}", "")
        for route in catalogue.routes("0.32.0")
        if route.group not in ("models", "chat", "completions", "messages", "responses", "realtime")
    }
)
CHAT = "/v1/chat/completions"


def encoded(text: str) -> str:
    return "".join(f"%{ord(char):02x}" for char in text)


# Forms of /NAME that some server, proxy or normalisation takes for /NAME. FIRST and REST are its parts, HEX is the
# first letter as a percent escape, ALL the whole name as escapes.
FORMS = [
    "/NAME",
    "//NAME",
    "///NAME",
    "/./NAME",
    "/NAME/",
    "/NAME/.",
    "/NAME//",
    "/NAME?",
    "/NAME?x=1",
    "/NAME#x",
    "/NAME;x=1",
    "/;/NAME",
    "/%2fNAME",
    "/%2FNAME",
    "/%5cNAME",
    "/\\NAME",
    "/.%2fNAME",
    "/HEXREST",
    "/ALL",
    "/%25HEXREST",
    "/NAME%00",
    "/NAME%20",
    "/NAME%09",
    "/NAME%0d%0a",
    "/NAME%3f",
    "/NAME%23",
    "/NAME.json",
    "/NAME..;/",
    "/v1/../NAME",
    "/v1/..//NAME",
    "/v1/models/../../NAME",
    "/v1/%2e%2e/NAME",
    "/v1/.%2e/NAME",
    "/v1/..%2fNAME",
    "/v1/%2e%2e%2fNAME",
    "/v1/..;/NAME",
    "/v1/models/..%2f..%2fNAME",
    "/v1/chat/completions/../../../NAME",
    "/v1/chat/completions/..%2f..%2f..%2fNAME",
    "/v1/models%2f..%2f..%2fNAME",
    "/v1/models/%252e%252e/%252e%252e/NAME",
    "/v1/models?/../../NAME",
    "/FIRST%u0065REST",
    "/%c0%afNAME",
    "/%ef%bc%8fNAME",
]

# The chat route in any form but its own, its neighbours, and what is below or above it.
WARPED = """
    CHAT/ /CHAT CHAT/. CHAT? CHAT?x=1 CHAT#x CHAT;x CHAT%20 CHAT%00 CHAT%09 CHAT%2f CHATs CHAT/render CHAT/batch
    /v1//chat/completions /v1/chat//completions /v1/./chat/completions /v1;x/chat/completions /V1/chat/completions
    /v1/Chat/Completions /v1/chat/%63ompletions /%76%31/chat/completions /v1%2fchat/completions /v1/chat%2Fcompletions
    /x/../v1/chat/completions /v1/x/../chat/completions /v1/%2e/chat/completions /v1/chat/completion /v1/chat /v1 /v1/ /
    *     /v1/models?limit=1 /v1/models/ /v1/models/stand-in /v1/responses/resp_0123456789 /bad-request /~unauthorized
    /~100/v1/completions /~ids/v1/responses/response_id /v1/realtime?model= /v1/realtime?model=a%2fb /v1/realtime?x=1
""".replace("CHAT", CHAT).split()

ODD_LINES = [
    *(f"POST {origin}{CHAT} HTTP/1.1" for origin in (f"http://{NAME}", f"https://{NAME}", "http://10.207.1.11:8000")),
    "GET http://10.207.1.11:8000/metrics HTTP/1.1",
    "CONNECT 10.207.1.11:8000 HTTP/1.1",
    f"CONNECT {NAME}:443 HTTP/1.1",
    *(
        f"{method} {CHAT} HTTP/1.1"
        for method in ["post", "Post", "GET", "PUT", "HEAD", "OPTIONS", "PATCH", "DELETE", "TRACE", "PURGE", "POST_"]
    ),
    *(
        f"POST {CHAT}{end}"
        for end in ("", " ", " HTTP/1.0", " HTTP/1.2", " HTTP/2.0", "  HTTP/1.1", " HTTP/1.1 x", " http/1.1")
    ),
    *(f"POST{gap}{CHAT} HTTP/1.1" for gap in ("  ", "\t", "\x00", " \x00", " \x0b")),
    *(f"POST {CHAT}{byte} HTTP/1.1" for byte in "\x00\x0b\x7f\xff"),
    f"P\x00OST {CHAT} HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "POST /v1/models HTTP/1.1",
    "HEAD /v1/models HTTP/1.1",
    "PRI * HTTP/2.0",
    "GET /%00 HTTP/1.1",
    "GET " + "/a" * 6000 + " HTTP/1.1",
    "GET /" + "%2e" * 500 + " HTTP/1.1",
]


def disguises(name: str) -> list[str]:
    first, rest = name[0], name[1:]
    parts = {"ALL": encoded(name), "HEX": encoded(first), "FIRST": first, "REST": rest, "NAME": name}
    found = []
    for form in FORMS:
        for part, text in parts.items():
            form = form.replace("%25HEX", "%25" + encoded(first)[1:]).replace(part, text)
        found.append(form)
    return [*found, "/" + name.upper()]


BODY = '{"model":"x"}'


def framings(key: str) -> list[str]:
    """Requests whose end two parsers could see in different places; a second request for /metrics hides in each."""
    hidden = f"GET /metrics HTTP/1.1\r\nHost: {NAME}\r\nAuthorization: Bearer {key}\r\n\r\n"
    chunked = f"{len(BODY):x}\r\n{BODY}\r\n0\r\n\r\n"
    line = f"POST {CHAT} HTTP/1.1"
    return [
        request(line, key, f"Content-Length: {len(BODY)}", "Transfer-Encoding: chunked") + chunked + hidden,
        request(line, key, "Transfer-Encoding: chunked", "Transfer-Encoding: identity") + chunked + hidden,
        request(line, key, "Transfer-Encoding: identity, chunked") + chunked + hidden,
        request(line, key, "Transfer-Encoding: xchunked") + chunked + hidden,
        request(line, key, "Transfer-Encoding : chunked") + chunked + hidden,
        request(line, key, "Content-Length: 5", "Content-Length: 500") + BODY + hidden,
        request(line, key, "Content-Length: +13") + BODY + hidden,
        request(line, key, "Content-Length: 0x0d") + BODY + hidden,
        request(line, key, "Content-Length: -1") + BODY + hidden,
        request(line, key, "Content-Length: 99999999999999999999") + BODY + hidden,
        request(line, key, "Transfer-Encoding: chunked") + "zz\r\n" + hidden,
        request(line, key, "Transfer-Encoding: chunked") + "-1\r\n" + hidden,
        request(line, key, "Host: second.example") + hidden,
        request(line, key, "X-A: 1\r\n folded: Transfer-Encoding") + hidden,
        request(line, key, "X-A\x00: 1") + hidden,
        request(line, key, "X-A: 1\x00") + hidden,
    ]


REFUSALS = (400, 404, 405, 421, None)


def refused(answers: list[Answer], lines: list[str]) -> None:
    pairs = zip(lines, answers, strict=True)
    assert [(line[:120], answer.status) for line, answer in pairs if answer.status not in REFUSALS] == []


def http2(path: str, key: str, method: str = "POST") -> list[list[str]]:
    pseudo = [[":method", method], [":scheme", "https"], [":path", path], [":authority", NAME]]
    return [*pseudo, ["authorization", f"Bearer {key}"]]


def test_the_catalogue_has_enough_to_deny() -> None:
    assert len(DENIED) > 50
    assert {"metrics", "tokenize", "invocations", "pause", "docs", "v1/load_lora_adapter", "collective_rpc"} <= {
        *DENIED
    }


def test_denied_routes_in_every_disguise(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    paths = [path for name in DENIED for path in disguises(name)]
    lines = [f"{'POST' if number % 2 else 'GET'} {path} HTTP/1.1" for number, path in enumerate(paths)]
    assert len(lines) > 2000
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


def test_the_same_over_http2(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    paths = [path for name in DENIED for path in disguises(name)] + WARPED
    paths += ["", "metrics", f"http://{NAME}{CHAT}", f"{CHAT} HTTP/1.1"]
    requests = [http2(path, keys["acme"], "GET" if number % 2 else "POST") for number, path in enumerate(paths)]
    requests += [http2(path, keys["acme"], method) for path in WARPED for method in ("GET", "POST")]
    answers = send(requests)
    refused(answers, [str(fields[:3]) for fields in requests])
    assert "no HTTP/2" not in {answer.text for answer in answers}
    assert seen() == []


def test_http2_fields_that_forge_http1(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    fields = (
        ("x-a", "b\r\nTransfer-Encoding: chunked"),
        ("transfer-encoding", "chunked"),
        ("connection", "x-a"),
        ("x-a\r\nb", "c"),
        ("host", "other.example"),
        (":path", "/metrics"),
        ("content-length", "5"),
        ("X-Upper", "1"),
        ("te", "gzip"),
    )
    send([[*http2(CHAT, keys["acme"]), list(field)] for field in fields])
    for entry in seen():
        assert entry["head"].startswith(f"POST {CHAT} HTTP/1.1\r\nHost: {NAME}\r\nX-Request-Id: ")
        assert "chunked" not in entry["head"]
        assert entry["head"].lower().count("x-") == 1


def test_well_formed_requests_do_pass(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    models = request("GET /v1/models HTTP/1.1", keys["acme"])
    answers = send([models, http2("/v1/models", keys["acme"], "GET")]) + send([models], address=EDGE6)
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert [entry["head"].split("\r\n")[0] for entry in seen()] == ["GET /v1/models HTTP/1.1"] * 3


def test_other_host_names_are_misdirected(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    names = ("other.example", "10.207.1.11", "localhost", f"{NAME}.other.example", "gateway")
    answers = send([request("GET /v1/models HTTP/1.1", keys["acme"], host=name) for name in names])
    assert [answer.status for answer in answers] == [421] * len(names)
    by_address = send([request("GET /v1/models HTTP/1.1", keys["acme"], host="10.207.3.20")], sni="")
    assert by_address[0].status == 200
    plain = send([request("GET /v1/models HTTP/1.1", keys["acme"])], sni=None)
    assert plain[0].status == 400
    assert len(seen()) == 1
