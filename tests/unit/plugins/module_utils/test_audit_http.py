# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests as they are sent, answers as they are told, certificates as they are read."""

from __future__ import annotations

import datetime

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import audit_http, audit_tls
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ENDPOINT = {"address": "fd00::1", "port": 443, "tls": True, "server_name": ""}


def test_the_target_goes_out_as_it_is() -> None:
    sent = audit_http.text_of(ENDPOINT, {"method": "POST", "target": "/v1/..%2f/x y", "headers": {"A": "b"}}, "key")
    assert sent == (
        b"POST /v1/..%2f/x y HTTP/1.1\r\nHost: [fd00::1]\r\nConnection: close\r\nContent-Type: application/json\r\n"
        b"Content-Length: 2\r\nAuthorization: Bearer key\r\nA: b\r\n\r\n{}"
    )
    assert b"Host: other\r\n" in audit_http.text_of(
        ENDPOINT, {"method": "GET", "target": "/", "headers": {"Host": "other"}}, ""
    )


@pytest.mark.parametrize(
    ("kind", "body", "word"),
    [
        ("text/plain", b"", "empty"),
        ("application/json", b'{"error": {"message": "x"}}', "error"),
        ("application/json", b'{"error": "Unauthorized"}', "json"),
        ("application/json", b'{"detail": "Not Found"}', "detail"),
        ("application/json", b'{"openapi": "3.1.0"}', "openapi"),
        ("application/json", b'{"object": "list", "data": []}', "models"),
        ("", b"vllm:requests 1", "metrics"),
        ("text/plain; version=0.0.4", b"# HELP x\nx 1", "metrics"),
        ("text/html; charset=utf-8", b"<p>", "html"),
        ("text/event-stream", b"data: x", "events"),
        ("text/plain", b"hello", "text"),
        ("application/json", b"{broken", "text"),
        ("", b"\xff\xfe\xff\xfe\xff", "binary"),
    ],
)
def test_kinds_of_bodies(kind: str, body: bytes, word: str) -> None:
    assert audit_http.marker({"content-type": kind}, body) == word


def test_chunks_are_joined() -> None:
    headers = {"transfer-encoding": "chunked", "content-type": "application/json"}
    assert audit_http.marker(headers, b'a\r\n{"detail":\r\n5\r\n "x"}\r\n0\r\n\r\n') == "detail"


def test_what_is_no_http() -> None:
    assert audit_http.parsed(b"SSH-2.0-x\r\n") == (None, {}, b"SSH-2.0-x\r\n")
    assert audit_http.parsed(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nx") == (200, {"a": "b"}, b"x")


def test_a_certificate() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "llm.example.org"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Ünï"),
        ]
    )
    begin, end = datetime.datetime(2020, 1, 2, 3, 4, 5), datetime.datetime(2051, 1, 2, 3, 4, 5)
    names = x509.SubjectAlternativeName([x509.DNSName("llm.example.org"), x509.DNSName("*.example.org")])
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    )
    made = (
        builder.not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    encoded = made.public_bytes(serialization.Encoding.DER)
    assert audit_tls.certificate(encoded) == {
        "subject": "CN=llm.example.org, O=Ünï",
        "issuer": "CN=llm.example.org, O=Ünï",
        "names": ["llm.example.org", "*.example.org"],
        "not_before": "2020-01-02T03:04:05Z",
        "not_after": "2051-01-02T03:04:05Z",
        "sha256": made.fingerprint(hashes.SHA256()).hex(),
    }
    with pytest.raises(ValueError):
        audit_tls.certificate(encoded[:40])


def test_names_that_match() -> None:
    assert audit_tls.matches("*.example.org", "LLM.example.org")
    assert not audit_tls.matches("*.example.org", "a.b.example.org")
    assert audit_tls.matches("llm.example.org", "llm.example.org")
