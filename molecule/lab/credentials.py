"""The lab's own secrets: an SSH key pair, a host key per node, and a CA with one server certificate.

All lie in the lab's directory with mode 0600 and are made once; the certificate is made again when its names change
or when it would expire within a month.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab.errors import LabError
from lab.paths import private_directory, write_file
from lab.spec import Address, LabSpec

LIFETIME = timedelta(days=365)
RENEW_BEFORE = timedelta(days=30)


@dataclass(frozen=True)
class Credentials:
    """Paths of a lab's secrets on the controller."""

    directory: Path

    @property
    def ssh_key(self) -> Path:
        """Private key that opens root on every node."""
        return self.directory / "ssh" / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """Every node's host key, by address."""
        return self.directory / "ssh" / "known_hosts"

    @property
    def ca(self) -> Path:
        """The CA's certificate: what a client has to trust."""
        return self.directory / "tls" / "ca.pem"

    @property
    def certificate(self) -> Path:
        """The server's certificate."""
        return self.directory / "tls" / "server.pem"

    @property
    def key(self) -> Path:
        """The server certificate's private key."""
        return self.directory / "tls" / "server.key"

    def host_key(self, node: str) -> Path:
        """Return the path of a node's SSH host key."""
        return self.directory / "ssh" / "hosts" / node

    def ssh_options(self) -> list[str]:
        """Return the options with which ssh accepts exactly this lab's keys."""
        settings = (
            f"UserKnownHostsFile={self.known_hosts}",
            "GlobalKnownHostsFile=/dev/null",
            "StrictHostKeyChecking=yes",
            "IdentitiesOnly=yes",
            "PasswordAuthentication=no",
        )
        return ["-i", str(self.ssh_key), *[word for setting in settings for word in ("-o", setting)]]


def ensure(directory: Path, spec: LabSpec) -> Credentials:
    """Make what is missing of a lab's secrets; return where they lie."""
    found = Credentials(directory)
    for part in ("ssh", "ssh/hosts", "tls"):
        private_directory(directory / part)
    _ensure_ssh_key(found.ssh_key, f"hardened-vllm-lab {spec.name}")
    known = []
    for node in spec.nodes:
        public = _ensure_ssh_key(found.host_key(node.name), node.name)
        names = ",".join(str(address) for network in node.networks for address in spec.addresses(node, network))
        known.append(f"{names} {' '.join(public.split()[:2])}\n")
    write_file(found.known_hosts, "".join(known), 0o600)
    if spec.tls:
        node = spec.node(spec.tls.node)
        addresses = [address for network in node.networks for address in spec.addresses(node, network)]
        _ensure_certificate(found, spec.name, spec.tls.names, addresses)
    return found


def _ensure_ssh_key(path: Path, comment: str) -> str:
    """Make an SSH key pair unless it is there; return the public line."""
    if not path.exists():
        made = Ed25519PrivateKey.generate()
        write_file(path, made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()), 0o600)
    try:
        key = load_ssh_private_key(path.read_bytes(), password=None)
    except ValueError as error:
        raise LabError(
            f"{path} is no SSH private key: {error}", f"delete {path} and repeat; nodes made with it are made anew"
        ) from error
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + f" {comment}"
    write_file(path.with_name(path.name + ".pub"), public + "\n", 0o644)
    return public


def _ensure_certificate(found: Credentials, lab: str, names: list[str], addresses: list[Address]) -> None:
    now = datetime.now(UTC)
    authority, authority_key = _ensure_authority(found, lab, now)
    if _is_current(found, authority, names, addresses, now):
        return
    key = generate_private_key(SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name(names[0]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(
            x509.SubjectAlternativeName([*map(x509.DNSName, names), *map(x509.IPAddress, addresses)]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    _write_key(found.key, key)
    write_file(found.certificate, certificate.public_bytes(Encoding.PEM), 0o600)


def _is_current(
    found: Credentials, authority: x509.Certificate, names: list[str], addresses: list[Address], now: datetime
) -> bool:
    if not (found.certificate.exists() and found.key.exists()):
        return False
    held = x509.load_pem_x509_certificate(found.certificate.read_bytes())
    listed = held.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    held_addresses = [ip_address(str(address)) for address in listed.get_values_for_type(x509.IPAddress)]
    key = load_pem_private_key(found.key.read_bytes(), password=None)
    return (
        held.issuer == authority.subject
        and held.not_valid_after_utc - now > RENEW_BEFORE
        and listed.get_values_for_type(x509.DNSName) == names
        and held_addresses == addresses
        and key.public_key() == held.public_key()
    )


def _ensure_authority(found: Credentials, lab: str, now: datetime) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
    key_path = found.ca.with_suffix(".key")
    if found.ca.exists() and key_path.exists():
        held = x509.load_pem_x509_certificate(found.ca.read_bytes())
        key = load_pem_private_key(key_path.read_bytes(), password=None)
        if isinstance(key, EllipticCurvePrivateKey) and held.not_valid_after_utc - now > RENEW_BEFORE:
            return held, key
    key = generate_private_key(SECP256R1())
    # The serial in the name makes a new CA a different issuer, so that certificates of an older one are replaced.
    serial = x509.random_serial_number()
    name = _name(f"hardened-vllm lab {lab} {serial:x}"[:64])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + 2 * LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
                key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    _write_key(key_path, key)
    write_file(found.ca, certificate.public_bytes(Encoding.PEM), 0o644)
    return certificate, key


def _write_key(path: Path, key: EllipticCurvePrivateKey) -> None:
    write_file(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
