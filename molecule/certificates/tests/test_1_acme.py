"""A certificate by an ACME server: got, renewed under open streams, and kept when the server is away."""

from __future__ import annotations

import ssl
import time

import pytest
from lab.testing import wait_for
from testinfra.host import Host

from .conftest import LAB, PEBBLE, Stream, pebbles_root, playbook, shown

UNIT = "hardened-vllm-certificate"
STATE = "/var/lib/hardened-vllm-gateway"


def test_clients_that_trust_the_acme_server_accept_it() -> None:
    assert shown(pebbles_root())["subjectAltName"] == (("DNS", "gateway.example.org"),)
    with pytest.raises(ssl.SSLCertVerificationError):
        shown((LAB / "tls" / "ca.pem").read_text())


def test_it_is_renewed_under_open_streams(gateway: Host, key: str) -> None:
    root = pebbles_root()
    before = shown(root)["serialNumber"]
    streams = [Stream(root, key, 40) for _number in range(50)]
    gateway.check_output(f"systemctl start {UNIT}.service")
    time.sleep(1)
    assert shown(root)["serialNumber"] != before
    assert [stream.whole() for stream in streams] == [True] * 50
    assert gateway.run(f"systemctl is-enabled {UNIT}.timer && systemctl is-active {UNIT}.timer").rc == 0


def test_a_run_after_a_renewal_changes_nothing_and_says_when_it_ends() -> None:
    run = playbook()
    assert run.code == 0 and run.changed() == {"gateway": 0}, run.text
    said = " ".join(run.text.split())
    assert "certificates/gateway.example.org.crt of gateway ends " in said and ", in 19 days" in said


def test_nothing_listens_on_port_80_between_renewals(gateway: Host) -> None:
    assert ":80 " not in gateway.check_output("ss -Hltn")


def test_keys_are_closed_and_nothing_runs_as_root(gateway: Host) -> None:
    for path in gateway.check_output(f"find {STATE} -type f -o -type d").splitlines():
        file = gateway.file(path)
        assert (file.user, file.mode & 0o077) == ("hardened-vllm-gateway", 0), path
    show = gateway.check_output(f"systemctl show {UNIT}.service -p User -p CapabilityBoundingSet -p NoNewPrivileges")
    assert set(show.split()) == {
        "User=hardened-vllm-gateway",
        "CapabilityBoundingSet=cap_net_bind_service",
        "NoNewPrivileges=yes",
    }


def test_without_the_acme_server_the_old_one_serves_on_and_the_unit_says_so(gateway: Host) -> None:
    root = pebbles_root()
    before = shown(root)["serialNumber"]
    gateway.check_output(f"ip route add unreachable {PEBBLE}/32")
    try:
        assert gateway.run(f"systemctl start {UNIT}.service").rc != 0
        assert gateway.run(f"systemctl is-failed {UNIT}.service").stdout.strip() == "failed"
        assert shown(root)["serialNumber"] == before
    finally:
        gateway.check_output(f"ip route del unreachable {PEBBLE}/32; systemctl reset-failed {UNIT}.service")


def test_a_certificate_nginx_could_not_take_comes_into_force_with_the_next_run(gateway: Host) -> None:
    root = pebbles_root()
    before = shown(root)["serialNumber"]
    configuration = "/etc/hardened-vllm/gateway/nginx.conf"
    gateway.check_output(f"cp -a {configuration} /root/; echo broken >>{configuration}")
    try:
        assert gateway.run(f"systemctl start {UNIT}.service").rc != 0
        assert gateway.run(f"systemctl is-failed {UNIT}.service").stdout.strip() == "failed"
        assert shown(root)["serialNumber"] == before
    finally:
        gateway.check_output(f"cp -a /root/nginx.conf {configuration}")
    gateway.check_output(f"ip route add unreachable {PEBBLE}/32")
    try:
        gateway.run(f"systemctl start {UNIT}.service")
        # nginx lets its old workers answer for a moment longer.
        wait_for(lambda: shown(root)["serialNumber"] != before, 5, "the renewed certificate was not in force")
    finally:
        gateway.check_output(f"ip route del unreachable {PEBBLE}/32; systemctl reset-failed {UNIT}.service")
