"""What the tests of this scenario share besides fixtures: addresses, requests and answers, the playbook."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
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
