"""What the tests of this scenario share besides fixtures: addresses, requests and answers, the playbook."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
LAB = CHECKOUT / ".lab" / "gateway"
NAME = "gateway.example.org"
EDGE4, EDGE6 = "10.207.3.20", "fd77:73::20"
UPSTREAM = "10.207.1.11"
MONITOR_DOOR = "10.207.2.20"


@dataclass(frozen=True)
class Answer:
    """What came back: status (None when there was no answer), everything received, and when how many bytes came."""

    status: int | None
    text: str
    marks: list[list[float]]

    @property
    def body(self) -> str:
        """What follows the headers."""
        return self.text.partition("\r\n\r\n")[2] if self.text.startswith("HTTP/") else self.text

    def header(self, name: str) -> str | None:
        """Return the value of a header, None when it is not there."""
        for line in self.text.partition("\r\n\r\n")[0].split("\r\n")[1:]:
            key, _, value = line.partition(": ")
            if key.lower() == name.lower():
                return value
        return None


# Names that vLLM, a server before it, or a careless proxy would act upon.
HOSTILE = """
X-Request-Id: mine
X-Amzn-SageMaker-Adapter-Identifier: other
X-Amzn-SageMaker-Custom-Attributes: a
X-Data-Parallel-Rank: 1
x_data_parallel_rank: 1
X-Session-ID: other
X-Forwarded-For: 127.0.0.1
Forwarded: for=127.0.0.1
Via: 1.1 x
X-HTTP-Method-Override: DELETE
X-Original-URL: /metrics
X-Rewrite-URL: /metrics
traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
Cookie: a=b
Referer: x
User-Agent: y
Accept: z
Accept-Encoding: gzip
Content-Encoding: gzip
Origin: https://evil.example
Upgrade: websocket
TE: trailers
Range: bytes=0-1
""".strip().splitlines()

# What OpenAI's clients make an exception of, by status.
ERROR_TYPES = {401: "authentication_error", 429: "rate_limit_error"}

Send = Callable[..., list[Answer]]
Seen = Callable[[], list[dict[str, Any]]]


def playbook(*options: str, name: str = "molecule/gateway/converge.yml") -> subprocess.CompletedProcess[str]:
    """Run a playbook, one of the scenario's or of the collection's, against the gateway."""
    argv = ["ansible-playbook", "-i", str(LAB / "inventory"), "--limit", "vllm_gateways", name, *options]
    return subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, timeout=300, check=False)


def request(line: str, key: str | None = None, *headers: str, body: str = "", host: str = NAME) -> str:
    """Return the text of one HTTP/1.1 request."""
    lines = [line, f"Host: {host}", "Connection: close", *headers]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines) + "\r\n\r\n" + body


def chat(key: str | None, body: dict[str, Any], *headers: str) -> str:
    """Return the text of one chat request."""
    return request(
        "POST /v1/chat/completions HTTP/1.1", key, "Content-Type: application/json", *headers, body=json.dumps(body)
    )


def http2(path: str, key: str, method: str = "POST") -> list[list[str]]:
    """Return the header fields of one HTTP/2 request without a body."""
    pseudo = [[":method", method], [":scheme", "https"], [":path", path], [":authority", NAME]]
    return [*pseudo, ["authorization", f"Bearer {key}"]]


def check_uniform(answers: Iterable[Answer]) -> None:
    """Assert that refusals are one error in OpenAI's shape for each status, and tell nothing about the server."""
    bodies: dict[int | None, str] = {}
    for answer in answers:
        assert answer.body == bodies.setdefault(answer.status, answer.body), answer.text
        if answer.text.startswith("HTTP/"):
            assert (answer.header("Server"), answer.header("Content-Type")) == ("nginx", "application/json")
    for status, body in bodies.items():
        told = json.loads(body)
        assert set(told) == {"error"} and set(told["error"]) == {"message", "type", "param", "code"}, body
        usual = "invalid_request_error" if (status or 400) < 500 else "server_error"
        assert told["error"]["type"] == ERROR_TYPES.get(status or 400, usual)
        assert "nginx" not in body and "<" not in body
