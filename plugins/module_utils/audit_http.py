# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests sent byte for byte, as no HTTP library would, and what came back: status, a few headers, the kind of the body."""

from __future__ import annotations

import json
import re
import socket
import time
from typing import Any, Dict, Tuple

from ansible_collections.hardened.vllm.plugins.module_utils import audit_tls

HEADERS = (
    "access-control-allow-credentials",
    "access-control-allow-origin",
    "allow",
    "cache-control",
    "content-security-policy",
    "content-type",
    "date",
    "location",
    "openai-processing-ms",
    "retry-after",
    "server",
    "strict-transport-security",
    "transfer-encoding",
    "via",
    "www-authenticate",
    "x-content-type-options",
    "x-powered-by",
    "x-request-id",
)
MOST_BYTES = 1 << 20
# Who answers may be somebody else by now; what is kept of an answer is small whatever it sends.
HEADER_CHARACTERS = 512
BODY = b"{}"
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})")


def ask(endpoint: Dict[str, Any], request: Dict[str, Any], key: str, timeout: float) -> Dict[str, Any]:
    """Send one request over a connection of its own; return status, headers, body, bytes, seconds and error."""
    started = time.monotonic()
    answer: Dict[str, Any] = {"status": None, "headers": {}, "body": "empty", "bytes": 0, "error": None}
    received = b""
    try:
        with socket.create_connection((endpoint["address"], endpoint["port"]), timeout) as plain:
            connection = audit_tls.wrapped(plain, endpoint["server_name"]) if endpoint["tls"] else plain
            with connection:
                connection.settimeout(timeout)
                connection.sendall(text_of(endpoint, request, key))
                received = _read(connection, started + timeout)
    except OSError as error:
        answer["error"] = str(error.strerror or error)
    status, headers, body = parsed(received)
    if status is None and answer["error"] is None:
        answer["error"] = "no answer" if not received else "no HTTP answer"
    kept = {name: value[:HEADER_CHARACTERS] for name, value in headers.items() if name in HEADERS}
    answer.update(status=status, headers=kept, body=marker(headers, body), bytes=len(received))
    if status is not None:
        answer["error"] = None
    answer["seconds"] = round(time.monotonic() - started, 3)
    return answer


def text_of(endpoint: Dict[str, Any], request: Dict[str, Any], key: str) -> bytes:
    """Return the bytes of a request; its target and its own headers go out as they are written."""
    named = {"Host": endpoint["server_name"] or _literal(endpoint["address"]), **(request.get("headers") or {})}
    lines = [
        "%s %s HTTP/1.1" % (request["method"], request["target"]),
        "Host: %s" % named.pop("Host"),
        "Connection: close",
    ]
    body = BODY if request["method"] in ("POST", "PUT", "PATCH") else b""
    if body:
        lines += ["Content-Type: application/json", "Content-Length: %d" % len(body)]
    if key:
        lines.append("Authorization: Bearer %s" % key)
    lines += ["%s: %s" % pair for pair in sorted(named.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body


def _literal(address: str) -> str:
    return "[%s]" % address if ":" in address else address


def _read(connection: socket.socket, deadline: float) -> bytes:
    received = b""
    while len(received) < MOST_BYTES and time.monotonic() < deadline:
        try:
            part = connection.recv(65536)
        except OSError:
            # A server that keeps the connection open has said all it had to say; what came is the answer.
            if received:
                return received
            raise
        if not part:
            return received
        received += part
        if _complete(received):
            return received
    return received


def _complete(received: bytes) -> bool:
    head, gap, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?im)^content-length:\s*([0-9]{1,12})\s*$", head)
    return bool(gap) and length is not None and len(body) >= int(length[1])


def parsed(received: bytes) -> Tuple[Any, Dict[str, str], bytes]:
    """Return status (None when it is no HTTP/1), headers with lower-case names, and the body as it came."""
    match = _STATUS.match(received)
    if match is None:
        return None, {}, received
    head, _gap, body = received.partition(b"\r\n\r\n")
    pairs = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
    return int(match[1]), {name.strip().lower(): value.strip() for name, _colon, value in pairs}, body


def marker(headers: Dict[str, str], body: bytes) -> str:
    """Return what a body looks like, in one word; see ``Answer`` in plugin_utils/audit/evidence.py."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = _unchunked(body)
    if not body.strip():
        return "empty"
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        return "events"
    text = body.decode("utf-8", "replace")
    if ("vllm:" in text and (kind == "text/plain" or text.startswith(("# HELP", "vllm:")))) or text.startswith(
        "# HELP"
    ):
        return "metrics"
    if kind == "text/html" or text.lstrip()[:15].lower().startswith(("<!doctype html", "<html")):
        return "html"
    if text.lstrip()[:1] in "{[":
        return _json(text)
    return "text" if text.count("\ufffd") < 4 else "binary"


def _json(text: str) -> str:
    try:
        value = json.loads(text)
    except RecursionError:  # nested deeper than anybody means it
        return "json"
    except ValueError:
        return "json" if len(text) >= MOST_BYTES // 2 else "text"
    if isinstance(value, dict):
        if "openapi" in value:
            return "openapi"
        if isinstance(value.get("error"), dict):
            return "error"
        if set(value) == {"detail"}:
            return "detail"
        if value.get("object") == "list" and isinstance(value.get("data"), list):
            return "models"
    return "json"


def _unchunked(body: bytes) -> bytes:
    parts = []
    place = 0
    while True:
        end = body.find(b"\r\n", place)
        size = body[place:end].split(b";")[0].strip() if end >= 0 else b""
        # Not int() alone, which takes signs too; the work stays in proportion to the body.
        length = int(size, 16) if re.fullmatch(rb"[0-9A-Fa-f]{1,8}", size) else 0
        if length == 0:
            return b"".join(parts)
        parts.append(body[end + 2 : end + 2 + length])
        place = end + 2 + length + 2
