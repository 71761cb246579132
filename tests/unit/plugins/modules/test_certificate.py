# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates that clients would refuse are refused, and an authority of one's own signs for its names alone."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.modules import certificate

NAME = "llm.example.org"
CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def openssl(*words: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=False)


class Place:
    """A directory of certificates, and the module run on it."""

    def __init__(self, directory: Path) -> None:
        self.certificate, self.key = directory / "gateway.pem", directory / "gateway.key"
        self.authority, self.authority_key = directory / "authority.pem", directory / "authority.key"
        self.directory = directory

    def run(self, check: bool = False, private: bool = True, **more: Any) -> dict[str, Any]:
        names = ("certificate", "key", "authority", "authority_key") if private else ("certificate", "key")
        given = {name: str(getattr(self, name)) for name in names} | {"names": [NAME], **more}
        text = json.dumps({"ANSIBLE_MODULE_ARGS": {"_ansible_check_mode": check, **given}})
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        argv = [sys.executable, "-m", certificate.__name__]
        done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False, env=environment)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def given(self, subject: str = NAME, days: int = 100) -> None:
        """Put a certificate of somebody else's there."""
        request, extensions = self.directory / "request", self.directory / "extensions"
        extensions.write_text(f"subjectAltName=DNS:{subject}\n")
        openssl("req", "-new", *CURVE, "-keyout", self.key, "-subj", f"/CN={subject}", "-out", request)
        words = ["-signkey", self.key, "-days", days, "-extfile", extensions]
        made = openssl("x509", "-req", "-in", request, *words, "-out", self.certificate)
        assert made.returncode == 0, made.stderr

    def contents(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.directory.iterdir()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_an_authority_and_a_certificate_are_made_once(place: Place) -> None:
    made = place.run()
    assert made["changed"] and made["days_left"] in (89, 90)
    assert {path.stat().st_mode & 0o777 for path in place.directory.iterdir()} == {0o600}
    before = place.contents()
    again = place.run()
    assert not again["changed"] and again["missing"] == []
    assert place.contents() == before
    assert place.key.read_text() not in json.dumps(made)


def test_clients_that_trust_the_authority_accept_it(place: Place) -> None:
    place.run()
    words = ["-x509_strict", "-purpose", "sslserver", "-CAfile", place.authority]
    assert openssl("verify", *words, "-verify_hostname", NAME, place.certificate).returncode == 0
    assert openssl("verify", *words, "-verify_hostname", "else.example.org", place.certificate).returncode != 0
    assert ssl.create_default_context(cafile=str(place.authority)).get_ca_certs()


@pytest.mark.parametrize(
    "alternative", ["DNS:bank.example", f"DNS:{NAME},DNS:bank.example", "IP:192.0.2.1", "IP:2001:db8::1"]
)
def test_a_stolen_authority_signs_for_nobody_else(place: Place, alternative: str) -> None:
    """The same certificate by an authority without constraints is accepted."""
    place.run()
    free, request, forged = (place.directory / name for name in ("free.pem", "request", "forged.pem"))
    openssl("req", "-x509", *CURVE, "-keyout", place.directory / "free.key", "-subj", "/CN=free", "-out", free)
    openssl("req", "-new", *CURVE, "-keyout", place.directory / "forged.key", "-subj", "/O=x", "-out", request)
    extensions = place.directory / "extensions"
    extensions.write_text(f"subjectAltName={alternative}\nextendedKeyUsage=serverAuth\n")
    verified = []
    for authority in (free, place.authority):
        signer = ["-CA", authority, "-CAkey", authority.with_suffix(".key"), "-set_serial", "7", "-extfile", extensions]
        assert openssl("x509", "-req", "-in", request, *signer, "-out", forged).returncode == 0
        verified.append(openssl("verify", "-purpose", "sslserver", "-CAfile", authority, forged).returncode)
    assert verified[0] == 0 and verified[1] != 0


def test_a_certificate_in_its_last_third_is_made_again_by_the_same_authority(place: Place) -> None:
    place.run(lifetime_days=29)
    before = place.contents()
    made = place.run(lifetime_days=90)
    after = place.contents()
    assert made["missing"] == [str(place.certificate), str(place.key)] and made["days_left"] in (89, 90)
    assert {name for name in after if after[name] != before[name]} == {"gateway.pem", "gateway.key"}


def test_a_certificate_of_another_authority_is_made_again(place: Place) -> None:
    place.run()
    place.given()
    assert place.run()["missing"] == [str(place.certificate), str(place.key)]


def test_an_authority_made_for_other_names(place: Place) -> None:
    place.run()
    before = place.contents()
    found = place.run(names=["other.example.net"])
    assert "may not sign for other.example.net" in found["msg"] and "Move it" in found["msg"]
    assert place.contents() == before


def test_half_an_authority(place: Place) -> None:
    place.run()
    place.authority_key.unlink()
    assert "one is there and the other is not" in place.run()["msg"]


@pytest.mark.parametrize("more", [{"check": True}, {"make": False}])
def test_what_would_be_made_is_said(place: Place, more: dict[str, Any]) -> None:
    found = place.run(**more)
    assert len(found["missing"]) == 4 and found["not_after"] == ""
    assert found["changed"] is ("check" in more)
    assert place.contents() == {}


def test_a_certificate_of_somebody_else(place: Place) -> None:
    place.given(days=13)
    found = place.run(private=False)
    assert not found["changed"] and found["days_left"] in (12, 13)
    assert [warning for warning in found["warnings"] if "clients refuse it then" in str(warning)]
    place.given(days=100)
    assert "warnings" not in place.run(private=False)


def test_certificates_clients_would_refuse(place: Place) -> None:
    assert "gateway.pem does not exist" in place.run(private=False)["msg"]
    assert place.run(private=False, required=False)["not_after"] == ""
    place.given(days=-1)
    assert "is over since" in place.run(private=False)["msg"]
    assert "is over since" in str(place.run(private=False, required=False)["warnings"])
    place.given("else.example.org")
    assert f"is not for {NAME}" in place.run(private=False)["msg"]
    place.given()
    right = place.certificate.read_bytes()
    place.given()
    place.certificate.write_bytes(right)
    assert "is not that of the certificate" in place.run(private=False)["msg"]
    place.key.write_text("$ANSIBLE_VAULT;1.1;AES256\n00\n")
    assert "msg" not in place.run(private=False)
    place.certificate.write_text("nonsense")
    assert "openssl x509 failed" in place.run(private=False)["msg"]


def test_a_client_certificate_is_none_for_a_server_and_the_other_way_round(place: Place) -> None:
    place.run(purpose="client")
    verified = {
        purpose: openssl(
            "verify", "-purpose", f"ssl{purpose}", "-CAfile", place.authority, place.certificate
        ).returncode
        for purpose in ("client", "server")
    }
    assert verified["client"] == 0 and verified["server"] != 0
    assert not place.run(purpose="client")["changed"]
    made = place.run(purpose="server")
    assert made["missing"] == [str(place.certificate), str(place.key)]


def test_an_authority_without_its_key_has_to_have_signed(place: Place) -> None:
    place.run()
    place.authority_key.unlink()
    given = {"authority": str(place.authority), "private": False}
    assert place.run(**given)["days_left"] in (89, 90)
    assert "is not one for a client that" in place.run(**given, purpose="client")["msg"]
    place.given()
    assert f"is not one for a server that {place.authority} leads to" in place.run(**given)["msg"]


def test_whom_the_machine_trusts_besides_is_no_authority(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.given()
    store = place.directory / "store"
    store.mkdir()
    (store / "all.pem").write_bytes(place.certificate.read_bytes())
    assert openssl("rehash", store).returncode == 0
    monkeypatch.setenv("SSL_CERT_DIR", str(store))
    monkeypatch.setenv("SSL_CERT_FILE", str(store / "all.pem"))
    other = Place(place.directory / "other")
    other.directory.mkdir()
    other.run()
    assert openssl("verify", "-CAfile", other.authority, place.certificate).returncode == 0, "openssl alone trusts it"
    found = place.run(private=False, authority=str(other.authority))
    assert "is not one for a server" in found["msg"]


@pytest.mark.parametrize("which", ["certificate", "authority"])
def test_a_key_among_certificates_is_refused(place: Place, which: str) -> None:
    place.run()
    key = place.authority_key.read_bytes()
    place.authority_key.unlink()
    path = getattr(place, which)
    path.write_bytes(path.read_bytes() + key)
    found = place.run(private=False, authority=str(place.authority))
    assert f"{path} holds a private key too" in found["msg"]
