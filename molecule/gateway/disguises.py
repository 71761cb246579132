"""Paths and requests in forms that some server takes for others: denied routes disguised, allowed ones warped."""

from __future__ import annotations

from ansible_collections.hardened.vllm.plugins.plugin_utils import catalogue
from gateway.support import NAME, request

# Every route of vLLM 0.32.0 that the tenant acme does not have, with something in the place of a name, and GET on each path.
# A WebSocket begins as a GET.
DENIED = sorted(
    {
        (method, route.path.strip("/").replace("{", "").replace("}", ""))
        for route in catalogue.routes("0.32.0")
        if route.group not in ("models", "chat", "completions", "messages", "responses", "realtime")
        for method in {"GET", {"WEBSOCKET": "GET", "MOUNT": "POST"}.get(route.method, route.method)}
    }
)
CHAT = "/v1/chat/completions"


def encoded(text: str) -> str:
    """Return a text with every letter as a percent escape."""
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

METHODS = ["post", "Post", "GET", "PUT", "HEAD", "OPTIONS", "PATCH", "DELETE", "TRACE", "PURGE", "POST_"]
# HTTP/0.9 knows no status and no headers: the body is all of the answer.
WITHOUT_VERSION = [f"POST {CHAT}", f"POST {CHAT} "]
ODD_LINES = [
    *WITHOUT_VERSION,
    *(f"POST {origin}{CHAT} HTTP/1.1" for origin in (f"http://{NAME}", f"https://{NAME}", "http://10.207.1.11:8000")),
    "GET http://10.207.1.11:8000/metrics HTTP/1.1",
    "CONNECT 10.207.1.11:8000 HTTP/1.1",
    f"CONNECT {NAME}:443 HTTP/1.1",
    *(f"{method} {CHAT} HTTP/1.1" for method in METHODS),
    *(f"POST {CHAT}{end}" for end in (" HTTP/1.0", " HTTP/1.2", " HTTP/2.0", "  HTTP/1.1", " HTTP/1.1 x", " http/1.1")),
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
    """Return a path in every form."""
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
    """Return requests whose end two parsers could see in different places; a second request for /metrics hides in each."""
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
