"""Fixtures of this scenario: the nodes, the keys, raw requests from the observer, the upstream's record."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from gateway.support import EDGE4, LAB, NAME, Answer, Seen, Send
from testinfra.host import Host

# Requests to one call: a shell's argument has at most 128 KiB.
BATCH = 500


@pytest.fixture(scope="session")
def gateway(node: Callable[[str], Host]) -> Host:
    return node("gateway")


@pytest.fixture(scope="session")
def engines(node: Callable[[str], Host]) -> list[Host]:
    return [node("engine1"), node("engine2")]


@pytest.fixture(scope="session")
def monitor(node: Callable[[str], Host]) -> Host:
    return node("monitor")


@pytest.fixture(scope="session")
def observer(node: Callable[[str], Host]) -> Host:
    return node("observer")


@pytest.fixture
def keys() -> dict[str, str]:
    """The tenants' keys by tenant, and the key for the engines as "upstream"."""
    secrets = LAB / "secrets"
    found = {path.parent.name: path.read_text().strip() for path in secrets.glob("tenants/*/k1.key")}
    return {**found, "upstream": (secrets / "upstream.key").read_text().strip()}


@pytest.fixture
def seen(engines: list[Host]) -> Seen:
    """What has reached the upstreams since the test began."""
    for engine in engines:
        engine.check_output("truncate --size=0 /root/record.jsonl")

    def read() -> list[dict[str, Any]]:
        texts = [engine.check_output("cat /root/record.jsonl") for engine in engines]
        return [json.loads(line) for text in texts for line in text.splitlines()]

    return read


def as_asked(one: Any) -> dict[str, Any]:
    """Return a request as the sender takes it."""
    if isinstance(one, dict):
        return one
    return {"raw" if isinstance(one, str) else "headers": one}


def send_from(host: Host) -> Send:
    """Return a function that sends requests from a host: texts over HTTP/1.1, lists of header fields over HTTP/2.

    A dictionary has a "body" beside its "headers".
    """

    def run(requests: list[Any], address: str = EDGE4, port: int = 443, sni: str | None = NAME) -> list[Answer]:
        answers: list[Answer] = []
        for start in range(0, len(requests), BATCH):
            where = {"address": address, "port": port, "sni": sni}
            batch = [{**where, **as_asked(one)} for one in requests[start : start + BATCH]]
            packed = base64.b64encode(zlib.compress(json.dumps(batch).encode())).decode()
            output = host.check_output(f"python3 /opt/raw_requests.py {packed}")
            answers += [Answer(**answer) for answer in json.loads(output)]
        return answers

    return run


@pytest.fixture(scope="session")
def send(observer: Host) -> Send:
    """Send requests from the observer."""
    return send_from(observer)


@pytest.fixture(scope="session")
def send_from_monitor(monitor: Host) -> Send:
    """Send requests from the monitor."""
    return send_from(monitor)
