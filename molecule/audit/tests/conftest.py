# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of this scenario: the audit of the clean cluster, and a way to plant faults into it."""

from __future__ import annotations

import datetime
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from audit.support import ROOT, SCENARIO, Audit, Fault
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from lab import runs
from lab.testing import Console


@pytest.fixture(scope="session")
def directory(lab_inventory: Path) -> Path:
    """The lab's directory on the controller."""
    return lab_inventory.parents[1]


@pytest.fixture(scope="session")
def standing(lab_name: str, directory: Path) -> dict[str, Any]:
    """What should be: plans, digests of keys, declared addresses."""
    done = runs.play(lab_name, SCENARIO / "standing.yml", timeout=120)
    if done.code != 0:
        pytest.fail(done.text)
    found: dict[str, Any] = json.loads((directory / "standing.json").read_text())
    return found


@pytest.fixture(scope="session")
def clean(console: Callable[[str], Console], standing: dict[str, Any], directory: Path) -> Audit:
    """The audit of the cluster as it is meant to be."""
    key = (directory / "secrets/tenants/acme/k1.key").read_text().strip()
    audit = Audit(console, standing, (directory / "tls/ca.pem").read_text(), {"tenants/acme/k1": key})
    audit.everything()
    return audit


@pytest.fixture(scope="session")
def plant(console: Callable[[str], Console], directory: Path) -> Iterator[Callable[[dict[str, Any]], Fault]]:
    """A function that makes a Fault of an entry of faults.yml."""
    upstream = (directory / "secrets/upstream.key").read_text().strip()
    tls = {"expired": expired(directory / "tls")}
    yield lambda entry: Fault(entry, console, upstream, tls)


def expired(directory: Path) -> str:
    """Return a certificate of the lab's authority for the gateway's key that ended yesterday."""
    authority = x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes())
    signer: Any = serialization.load_pem_private_key((directory / "ca.key").read_bytes(), None)
    good = x509.load_pem_x509_certificate((directory / "server.pem").read_bytes())
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(good.subject).issuer_name(authority.subject)
    builder = builder.public_key(good.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=30)).not_valid_after(
        now - datetime.timedelta(days=1)
    )
    for extension in good.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="session")
def reports(lab_inventory: Path, directory: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The directory of a whole run of playbooks/audit.yml against this lab, and what the run said."""
    place = tmp_path_factory.mktemp("audit")
    key = tmp_path_factory.mktemp("signer") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (place.parent / "allowed_signers").write_text(f"auditor {key.with_suffix('.pub').read_text()}")
    command = ["ansible-playbook", f"--inventory={lab_inventory}", str(ROOT / "playbooks/audit.yml")]
    command += ["-e", f"audit_report_dir={place}", "-e", f"audit_authority={directory / 'tls/ca.pem'}"]
    command += [
        "-e",
        json.dumps(
            {"audit_strangers": ["stranger"], "audit_ports": "1-1024,5600,5700,8000-9999", "audit_fail_on": "never"}
        ),
    ]
    command += ["-e", "audit_tenant_key=tenants/acme/k1", "-e", f"audit_signing_key={key}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
    if done.returncode != 0:
        pytest.fail(done.stdout + done.stderr)
    return place, done.stdout
