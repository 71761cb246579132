# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the gateway refuses never reaches vLLM, which would have answered it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

import pytest
from lab.testing import Console

from .conftest import Service

REFUSED = [
    ("POST", "/tokenize"),
    ("POST", "/detokenize"),
    ("POST", "/invocations"),
    ("POST", "/pause"),
    ("POST", "/scale_elastic_ep"),
    ("POST", "/generative_scoring"),
    ("POST", "/inference/v1/generate"),
    ("GET", "/metrics"),
    ("GET", "/health"),
    ("GET", "/version"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("POST", "/v1/load_lora_adapter"),
    ("POST", "/v1/responses"),
    ("GET", "/v1/../metrics"),
    ("GET", "/v1/models/../../metrics"),
    ("GET", "//metrics"),
    ("GET", "/%6detrics"),
    ("GET", "/v1/models/%2e%2e/%2e%2e/metrics"),
    ("GET", "/v1//models"),
    ("GET", "/v1/models/"),
    ("GET", "/v1/models?x=1"),
    ("GET", "/V1/models"),
    ("GET", "http://engine1:8000/metrics"),
    ("DELETE", "/v1/models"),
    ("POST", "/v1/models"),
    ("GET", "/v1/chat/completions"),
    ("OPTIONS", "/v1/chat/completions"),
]


def raw(service: Service, method: str, target: str) -> tuple[int, bytes]:
    """Send a request with its target as it is, with a right key; return the status and the body."""
    context = ssl.create_default_context(cafile=str(service.authority))
    body = b'{"model": "tiny", "prompt": "a"}' if method == "POST" else b""
    head = (
        f"{method} {target} HTTP/1.1\r\nHost: {service.address}\r\nAuthorization: Bearer {service.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    plain = socket.create_connection((service.address, 443), timeout=20)
    with context.wrap_socket(plain, server_hostname=service.address) as secure:
        secure.sendall(head.encode() + body)
        answer = b""
        while part := secure.recv(65536):
            answer += part
    top, _, rest = answer.partition(b"\r\n\r\n")
    return int(top.split(b" ")[1]), rest


@pytest.mark.parametrize(("method", "target"), REFUSED)
def test_refused_and_never_seen(service: Service, method: str, target: str, journal: Callable[[], str]) -> None:
    status, body = raw(service, method, target)
    assert status in (400, 403, 404, 405, 421)
    assert b"error" in body
    assert '"GET ' not in journal()
    assert '"POST ' not in journal()


def test_what_is_passed_is_seen(service: Service, journal: Callable[[], str]) -> None:
    """The tests above can fail: vLLM's own log does name what reaches it."""
    assert raw(service, "GET", "/v1/models")[0] == 200
    assert '"GET /v1/models HTTP/1.1" 200' in journal()


def test_vllm_itself_would_have_answered_without_a_key(console: Callable[[str], Console]) -> None:
    """The attack, from the one host that may reach vLLM: this is what the gateway stands in front of."""
    ask = "curl --silent --output /dev/null --write-out %{http_code} --header Content-Type:application/json "
    inside = console("gateway")
    assert inside.shell(f'{ask} --data \'{{"model":"tiny","prompt":"a"}}\' http://10.220.1.11:8000/tokenize') == "200"
    assert inside.shell(f"{ask} http://10.220.1.11:8000/metrics") == "200"
    assert inside.shell(f"{ask} http://10.220.1.11:8000/v1/models") == "401"


def test_the_log_names_the_tenant_and_never_the_key(service: Service, console: Callable[[str], Console]) -> None:
    raw(service, "GET", f"/v1/models?key={service.key}")
    raw(service, "GET", "/v1/models")
    log = console("gateway").shell(
        "cat /var/log/hardened-vllm/*.log /var/log/hardened-vllm-gateway/*.log 2>/dev/null || true"
    )
    assert '"acme"' in log
    assert service.key not in log
    assert service.key not in console("gateway").run("journalctl", "--boot", "--no-pager")
