"""The attacks work where the role is not: directly, and through careless reverse proxies. Then not through ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gateway.support import EDGE4, UPSTREAM, Seen, Send, request
from testinfra.host import Host

# A proxy for everything, and one for /v1/ as a prefix (nginx hands on the client's own path).
CARELESS = f"""
pid /run/careless.pid;
events {{}}
http {{
    access_log off;
    server {{ listen {EDGE4}:8081; location / {{ proxy_pass http://{UPSTREAM}:8000; }} }}
    server {{ listen {EDGE4}:8082; location /v1/ {{ proxy_pass http://{UPSTREAM}:8000; }} }}
}}
"""

EVERYTHING = [
    "/metrics",
    "/tokenize",
    "/invocations",
    "/pause",
    "/docs",
    "/v1/load_lora_adapter",
    "/v1/../metrics",
    "//metrics",
    "/%6detrics",
]
BELOW_V1 = ["/v1/load_lora_adapter", "/metrics/../v1/models?x=1", "/v1/chat/completions/render", "/%76%31/models"]


@pytest.fixture(scope="module")
def careless(gateway: Host) -> Iterator[None]:
    gateway.run_expect([0], f"cat > /root/careless.conf <<'END'\n{CARELESS}\nEND")
    gateway.run_expect([0], "nginx -c /root/careless.conf >/dev/null 2>&1")
    yield
    gateway.run_expect([0], "kill $(cat /run/careless.pid); rm /root/careless.conf")


@pytest.mark.usefixtures("careless")
@pytest.mark.parametrize(("port", "paths"), [(8081, EVERYTHING), (8082, BELOW_V1)])
def test_careless_proxies_let_the_attacks_through(send: Send, seen: Seen, port: int, paths: list[str]) -> None:
    answers = send([request(f"POST {path} HTTP/1.1") for path in paths], port=port, sni=None)
    assert [answer.status for answer in answers] == [200] * len(paths)
    assert len(seen()) == len(paths)


def test_a_host_on_the_fabric_reaches_everything(gateway: Host, seen: Seen) -> None:
    gateway.check_output(f"curl --silent --fail http://{UPSTREAM}:8000/metrics")
    assert seen()[0]["head"].startswith("GET /metrics ")


def test_the_gateway_lets_none_of_them_through(send: Send, seen: Seen, keys: dict[str, str]) -> None:
    paths = [*EVERYTHING, *BELOW_V1]
    lines = [f"{method} {path} HTTP/1.1" for path in paths for method in ("GET", "POST")]
    with_key = send([request(line, keys["acme"]) for line in lines])
    without = send([request(line) for line in lines])
    assert {answer.status for answer in with_key} == {404}
    assert {answer.status for answer in without} == {401}
    assert len({answer.body for answer in with_key}) == 1
    assert len({answer.body for answer in without}) == 1
    assert seen() == []
