"""A private authority, certificates that are given, and ones that clients would refuse."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest
from testinfra.host import Host

from .conftest import LAB, Stream, issuer, pebbles_root, playbook, shown

TLS = LAB / "secrets" / "tls"


def test_check_mode_makes_nothing(gateway: Host) -> None:
    before = gateway.check_output("sha256sum /etc/hardened-vllm/gateway/*")
    run = playbook("--check", *issuer("private"))
    assert run.code == 0, run.text
    assert "secrets/tls/gateway.pem is yet to be made" in " ".join(run.text.split())
    assert not TLS.exists() and gateway.check_output("sha256sum /etc/hardened-vllm/gateway/*") == before


def test_another_issuer_takes_over_under_open_streams(gateway: Host, key: str) -> None:
    streams = [Stream(pebbles_root(), key, 60) for _number in range(50)]
    run = playbook(*issuer("private"))
    assert run.code == 0, run.text
    assert "secrets/tls/gateway.pem ends " in " ".join(run.text.split())
    authority = (TLS / "authority.pem").read_text()
    assert shown(authority)["subjectAltName"] == (("DNS", "gateway.example.org"),)
    with pytest.raises(ssl.SSLCertVerificationError):
        shown((LAB / "tls" / "ca.pem").read_text())
    assert [stream.whole() for stream in streams] == [True] * 50
    assert (
        gateway.run("ls /etc/systemd/system/hardened-vllm-certificate.* /etc/hardened-vllm/gateway/certificate.sh").rc
        != 0
    )
    assert gateway.run("systemctl is-active hardened-vllm-certificate.timer").rc != 0


def test_the_key_of_the_authority_stays_on_the_controller(gateway: Host) -> None:
    for name in ("authority.key", "gateway.key"):
        assert (TLS / name).stat().st_mode & 0o777 == 0o600
    marked = (TLS / "authority.key").read_text().splitlines()[1]
    assert gateway.run(f"grep -rlF --exclude-dir=proc --exclude-dir=sys --exclude-dir=dev -- '{marked}' /").stdout == ""


def test_a_second_run_makes_no_other_certificate() -> None:
    before = {path.name: path.read_bytes() for path in TLS.iterdir()}
    run = playbook(*issuer("private"))
    assert run.changed() == {"gateway": 0}, run.text
    assert {path.name: path.read_bytes() for path in TLS.iterdir()} == before


def test_a_certificate_that_is_over_is_refused_before_any_host_is_changed(tmp_path: Path) -> None:
    over, request = tmp_path / "over.pem", tmp_path / "request"
    key = LAB / "tls" / "server.key"
    extensions = tmp_path / "extensions"
    extensions.write_text("subjectAltName=DNS:gateway.example.org\n")
    subprocess.run(["openssl", "req", "-new", "-key", key, "-subj", "/CN=x", "-out", request], check=True)
    words = ["-signkey", key, "-extfile", extensions, "-out", over]
    for days, said in (("-1", f"the certificate {over} is over since "), ("5", f"the certificate {over} ends in ")):
        subprocess.run(
            ["openssl", "x509", "-req", "-in", request, "-days", days, *words], check=True, capture_output=True
        )
        told = [*issuer("files"), "-e", f"certificates_scenario_certificate={over}"]
        run = playbook(*told, name="playbooks/preflight.yml")
        assert (run.code != 0) == (days == "-1"), run.text
        assert said in " ".join(run.text.split())
    assert shown((TLS / "authority.pem").read_text())


def test_back_to_the_acme_server() -> None:
    run = playbook()
    assert run.code == 0, run.text
    assert shown(pebbles_root())
    again = playbook()
    assert again.changed() == {"gateway": 0}, again.text
