"""Fixtures of this scenario: the nodes, runs of the playbook, and a client that trusts one authority."""

from __future__ import annotations

import http.client
import socket
import ssl
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from lab import runs
from testinfra.host import Host

CHECKOUT = Path(__file__).resolve().parents[3]
LAB = CHECKOUT / ".lab" / "certificates"
NAME, EDGE, PEBBLE = "gateway.example.org", "10.228.3.20", "10.228.3.40"


@pytest.fixture(scope="session")
def gateway(node: Callable[[str], Host]) -> Host:
    return node("gateway")


def playbook(*options: str, name: str = "molecule/certificates/converge.yml") -> runs.Run:
    """Run a playbook against the gateway."""
    return runs.play("certificates", CHECKOUT / name, "--limit=vllm_gateways", *options)


def issuer(name: str) -> list[str]:
    """Return the options for another issuer than acme."""
    return ["-e", f"certificates_scenario_issuer={name}"]


def context(authority: str) -> ssl.SSLContext:
    """Return what a client has that trusts one authority, given in PEM."""
    return ssl.create_default_context(cadata=authority)


def pebbles_root() -> str:
    """Return the authority pebble made when it started."""
    own = ssl.create_default_context(cafile=str(LAB / "acme" / "server.pem"))
    with urllib.request.urlopen(f"https://{PEBBLE}:15000/roots/0", context=own, timeout=20) as answer:
        return str(answer.read().decode())


def shown(authority: str) -> dict[str, object]:
    """Return the certificate the gateway shows; ssl.SSLError when a client with this authority refuses it."""
    with (
        socket.create_connection((EDGE, 443), timeout=20) as plain,
        context(authority).wrap_socket(plain, server_hostname=NAME) as connection,
    ):
        found = connection.getpeercert()
        assert found
        return dict(found)


class Stream(http.client.HTTPSConnection):
    """An answer in events, read as slowly as it comes."""

    def __init__(self, authority: str, key: str, events: int) -> None:
        super().__init__(NAME, timeout=60, context=context(authority))
        plain = socket.create_connection((EDGE, 443), timeout=60)
        self.sock = context(authority).wrap_socket(plain, server_hostname=NAME)
        self.events = events
        body = f'{{"stream": true, "events": {events}}}'
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self.request("POST", "/v1/chat/completions", body, headers)

    def whole(self) -> bool:
        """Read to the end; return whether everything that was sent has come."""
        text = self.getresponse().read().decode()
        return text == "".join(f'data: {{"number": {number}}}\n\n' for number in range(self.events))


@pytest.fixture
def key() -> str:
    return (LAB / "secrets/tenants/acme/k1.key").read_text().strip()
