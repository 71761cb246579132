"""Tenants that have to show a certificate beside their key."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gateway.support import EDGE4, LAB, NAME, Seen, playbook
from testinfra.host import Host

LOG = "/var/log/hardened-vllm-gateway/access.log"
CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]

Pair = tuple[Path, Path] | None


def openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def signed(place: Path, name: str, subject: str, authority: Path, *more: str) -> Pair:
    """Make a client's certificate by an authority, whose key lies beside it; return it and its key."""
    pair = place / f"{name}.pem", place / f"{name}.key"
    openssl("req", "-new", *CURVE, "-keyout", pair[1], "-subj", subject, "-out", place / "request")
    signer = ["-CA", authority, "-CAkey", authority.with_suffix(".key"), "-CAcreateserial"]
    openssl("x509", "-req", "-in", place / "request", *signer, *(more or ("-days", "2")), "-out", pair[0])
    return pair


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    place = tmp_path_factory.mktemp("clients")
    foreign = place / "foreign.pem"
    openssl("req", "-x509", *CURVE, "-keyout", foreign.with_suffix(".key"), "-subj", "/CN=foreign", "-out", foreign)
    ours = LAB / "tls" / "ca.pem"
    return {
        "own": signed(place, "own", "/O=Example/CN=proved", ours),
        "another tenant's": signed(place, "other", "/O=Example/CN=other", ours),
        "longer name": signed(place, "longer", "/O=Example/CN=proved2", ours),
        "another authority's": signed(place, "forged", "/O=Example/CN=proved", foreign),
        "over": signed(place, "over", "/O=Example/CN=proved", ours, "-days", "-1"),
        "none": None,
    }


def ask(pair: Pair, key: str | None, sni: str = NAME) -> tuple[int, dict[str, Any], str | None]:
    """Ask for the models over TLS; return (status, body, request id)."""
    context = ssl.create_default_context(cafile=str(LAB / "tls" / "ca.pem"))
    context.check_hostname = sni == NAME
    if pair is not None:
        context.load_cert_chain(*pair)
    connection = http.client.HTTPSConnection(EDGE4, timeout=20, context=context)
    plain = connection._create_connection((EDGE4, 443), 20)  # type: ignore[attr-defined]
    connection.sock = context.wrap_socket(plain, server_hostname=sni)
    headers = {"Host": NAME} | ({"Authorization": f"Bearer {key}"} if key else {})
    connection.request("GET", "/v1/models", headers=headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read()), answer.headers["X-Request-Id"]


Causes = Callable[[dict[str, Pair], str], dict[str, tuple[int, str]]]


@pytest.fixture
def causes(gateway: Host) -> Causes:
    """Return a function that asks with each pair, and tells statuses and the causes in the log."""

    def run(pairs: dict[str, Pair], key: str) -> dict[str, tuple[int, str]]:
        answers = {name: ask(pair, key) for name, pair in pairs.items()}
        time.sleep(0.2)
        lines = [json.loads(line) for line in gateway.file(LOG).content_string.splitlines()]
        logged = {line["request_id"]: line["cause"] for line in lines}
        return {name: (status, logged[made or ""]) for name, (status, _body, made) in answers.items()}

    return run


REFUSED = {
    "own": (200, ""),
    "another tenant's": (401, "no_certificate"),
    "longer name": (401, "no_certificate"),
    "another authority's": (400, "bad_request"),
    "over": (400, "bad_request"),
    "none": (401, "no_certificate"),
}


def test_a_stolen_key_is_not_enough(pairs: dict[str, Pair], causes: Causes, seen: Seen, keys: dict[str, str]) -> None:
    assert causes(pairs, keys["proved"]) == REFUSED
    assert len(seen()) == 1


def test_a_stolen_key_is_enough_for_a_tenant_without_a_certificate(
    pairs: dict[str, Pair], causes: Causes, keys: dict[str, str]
) -> None:
    undeclared = json.dumps({"gateway_scenario_certificate": None})
    try:
        run = playbook("-e", undeclared)
        assert run.returncode == 0, run.stdout
        found = causes(pairs, keys["proved"])
        assert found["none"] == found["another tenant's"] == found["longer name"] == (200, "")
    finally:
        assert playbook().returncode == 0
    assert causes({"none": None}, keys["proved"]) == {"none": (401, "no_certificate")}


def test_a_certificate_is_no_key(pairs: dict[str, Pair], seen: Seen) -> None:
    assert ask(pairs["own"], None)[0] == ask(pairs["own"], "not-a-key-0123456789")[0] == 401
    assert seen() == []


def test_the_refusal_says_no_more_than_that_of_a_wrong_key(pairs: dict[str, Pair], keys: dict[str, str]) -> None:
    assert ask(None, keys["proved"])[1] == ask(None, "not-a-key-0123456789")[1]
    assert ask(pairs["another authority's"], keys["proved"])[1]["error"]["message"] == "Bad request."


def test_another_name_in_the_handshake_is_no_way_around(
    pairs: dict[str, Pair], seen: Seen, keys: dict[str, str]
) -> None:
    found = {
        name: ask(pair, keys["proved"], sni="else.example.org")[0] for name, pair in pairs.items() if name != "own"
    }
    assert found == {name: status for name, (status, _cause) in REFUSED.items() if name != "own"}
    assert seen() == []
