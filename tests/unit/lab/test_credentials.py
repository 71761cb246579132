# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from lab import credentials, inventory
from lab.errors import LabError
from lab.spec import LabSpec, parse

DATA: dict[str, Any] = {
    "name": "one",
    "networks": {"fabric": {"subnets": ["10.9.1.0/24", "fd09:1::/64"]}, "edge": {"subnets": ["10.9.3.0/24"]}},
    "management": "fabric",
    "tls": {"node": "gate", "names": ["gate.example.org"]},
    "nodes": [
        {"name": "a", "networks": ["fabric"], "groups": ["vllm_nodes"]},
        {"name": "gate", "networks": ["fabric", "edge"], "groups": ["vllm_gateways"]},
    ],
}


@pytest.fixture
def spec() -> LabSpec:
    return parse(DATA, "here")


def test_secrets_are_for_their_owner_only(tmp_path: Path, spec: LabSpec) -> None:
    made = credentials.ensure(tmp_path, spec)
    for file in (
        made.ssh_key,
        made.known_hosts,
        made.key,
        made.certificate,
        made.ca.with_suffix(".key"),
        made.host_key("a"),
    ):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_a_second_run_changes_nothing(tmp_path: Path, spec: LabSpec) -> None:
    credentials.ensure(tmp_path, spec)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    credentials.ensure(tmp_path, spec)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_the_certificate_names_the_gateway_by_dns_and_by_every_address(tmp_path: Path, spec: LabSpec) -> None:
    made = credentials.ensure(tmp_path, spec)
    certificate = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    authority = x509.load_pem_x509_certificate(made.ca.read_bytes())
    certificate.verify_directly_issued_by(authority)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["gate.example.org"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == [
        "10.9.1.12",
        "fd09:1::12",
        "10.9.3.12",
    ]


def test_new_names_get_a_new_certificate_of_the_same_ca(tmp_path: Path, spec: LabSpec) -> None:
    made = credentials.ensure(tmp_path, spec)
    authority, certificate = made.ca.read_bytes(), made.certificate.read_bytes()
    renamed = spec.model_copy(
        update={"tls": spec.tls.model_copy(update={"names": ["new.example.org"]})} if spec.tls else {}
    )
    credentials.ensure(tmp_path, renamed)
    assert made.ca.read_bytes() == authority
    assert made.certificate.read_bytes() != certificate


def test_a_lost_ca_is_replaced_together_with_the_certificate(tmp_path: Path, spec: LabSpec) -> None:
    made = credentials.ensure(tmp_path, spec)
    made.ca.unlink()
    credentials.ensure(tmp_path, spec)
    authority = x509.load_pem_x509_certificate(made.ca.read_bytes())
    x509.load_pem_x509_certificate(made.certificate.read_bytes()).verify_directly_issued_by(authority)


def test_every_node_s_host_key_is_known_by_each_of_its_addresses(tmp_path: Path, spec: LabSpec) -> None:
    made = credentials.ensure(tmp_path, spec)
    lines = made.known_hosts.read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["10.9.1.11,fd09:1::11", "10.9.1.12,fd09:1::12,10.9.3.12"]
    public = made.host_key("gate").with_name("gate.pub").read_text().split()
    assert lines[1].split()[1:] == public[:2]


def test_a_spoilt_key_is_named(tmp_path: Path, spec: LabSpec) -> None:
    made = credentials.ensure(tmp_path, spec)
    made.ssh_key.write_text("no key")
    with pytest.raises(LabError, match=r"id_ed25519 is no SSH private key"):
        credentials.ensure(tmp_path, spec)


def test_the_inventory_has_groups_addresses_interfaces_and_pinned_keys(tmp_path: Path, spec: LabSpec) -> None:
    found = inventory.content(spec, credentials.Credentials(tmp_path))["all"]
    assert found["children"] == {"vllm_nodes": {"hosts": {"a": None}}, "vllm_gateways": {"hosts": {"gate": None}}}
    assert found["hosts"]["gate"] == {
        "ansible_host": "10.9.1.12",
        "vllm_node": {
            "addresses": {"fabric": ["10.9.1.12", "fd09:1::12"], "edge": ["10.9.3.12"]},
            "interfaces": {"fabric": "fabric0", "edge": "edge0"},
        },
    }
    assert "StrictHostKeyChecking=yes" in found["vars"]["ansible_ssh_common_args"]
    assert found["vars"]["lab"]["controller"]["fabric"] == ["10.9.1.1", "fd09:1::1"]
    assert found["vars"]["ansible_control_path"].endswith("/one/%%h")
