"""Fixtures of this scenario: the nodes, the keys, raw requests from the observer, the upstream's record."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from gateway.support import EDGE4, LAB, NAME, Answer, Seen, Send
from testinfra.host import Host


@pytest.fixture(scope="session")
def gateway(node: Callable[[str], Host]) -> Host:
    return node("gateway")


@pytest.fixture(scope="session")
def engine(node: Callable[[str], Host]) -> Host:
    return node("engine1")


@pytest.fixture(scope="session")
def observer(node: Callable[[str], Host]) -> Host:
    return node("observer")


@pytest.fixture(scope="session")
def keys() -> dict[str, str]:
    """The tenants' keys by tenant, and the key for the engines as "upstream"."""
    secrets = LAB / "secrets"
    found = {path.parent.name: path.read_text().strip() for path in secrets.glob("tenants/*/k1.key")}
    return {**found, "upstream": (secrets / "upstream.key").read_text().strip()}


@pytest.fixture
def seen(engine: Host) -> Seen:
    """What has reached the upstream since the test began."""
    engine.check_output("truncate --size=0 /root/record.jsonl")

    def read() -> list[dict[str, Any]]:
        return [json.loads(line) for line in engine.check_output("cat /root/record.jsonl").splitlines()]

    return read


@pytest.fixture(scope="session")
def send(observer: Host) -> Send:
    """Send requests from the observer: texts over HTTP/1.1, lists of header fields over HTTP/2."""

    def run(requests: list[Any], address: str = EDGE4, port: int = 443, sni: str | None = NAME) -> list[Answer]:
        answers: list[Answer] = []
        for start in range(0, len(requests), 60):
            batch = [
                {"address": address, "port": port, "sni": sni, ("raw" if isinstance(one, str) else "headers"): one}
                for one in requests[start : start + 60]
            ]
            packed = base64.b64encode(json.dumps(batch).encode()).decode()
            output = observer.check_output(f"python3 /opt/raw_requests.py {packed}")
            answers += [Answer(**answer) for answer in json.loads(output)]
        return answers

    return run
