# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The scanners, and what each of them found, as plain Python."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / ".lab" / "scan"
PROGRAMS = ROOT / ".cache" / "scanners" / "bin"
NAME = "gateway.example.org"
EDGE4, EDGE6 = "10.229.3.20", "fd77:6d3::20"
AUTHORITY = LAB / "tls" / "ca.pem"
# testssl.sh's own words for "no worse than low"; WARN says what it could not look at.
HARMLESS = {"OK", "INFO", "LOW", "DEBUG", "WARN"}
# Not about the gateway: what stands here, and why.
WAIVED = {
    "cipher_order": "Mozilla's intermediate set leaves the order to the client, since every suite of it is good",
    "cert_revocation": "of the certificate, which is the lab's: authorities of its kind publish no revocations",
}


def _run(*argv: str, timeout: float = 500) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False, cwd=LAB)


def ports(address: str) -> set[int]:
    """Return the open TCP ports of an address, of all there are, as nmap sees them."""
    family = ["-6"] if ":" in address else []
    done = _run("nmap", *family, "-n", "-Pn", "-p-", "--min-rate=2000", "--max-retries=2", "-oX", "-", address)
    found = ElementTree.fromstring(done.stdout).iter("port")  # noqa: S314 - written by nmap on this machine
    return {int(port.get("portid", "0")) for port in found if port.find("state[@state='open']") is not None}


def differences_from_intermediate(port: int) -> list[str]:
    """Return what keeps a door from Mozilla's intermediate set, in sslyze's words; nothing when it complies."""
    target = f"{NAME}:{port}{{{EDGE4}}}"
    done = _run(str(PROGRAMS / "sslyze"), "--mozilla_config=intermediate", f"--certinfo_ca_file={AUTHORITY}", target)
    _before, _, verdict = done.stdout.partition("COMPLIANCE AGAINST")
    if not verdict:
        raise RuntimeError(f"sslyze gave no verdict: {done.stdout}{done.stderr}")
    return [line.strip() for line in verdict.splitlines() if line.strip().startswith("*")]


def weaknesses(port: int, report: Path) -> dict[str, str]:
    """Return what testssl.sh thinks worse than low, by its name for it."""
    options = [
        "--quiet",
        "--color=0",
        "--warnings=off",
        f"--add-ca={AUTHORITY}",
        f"--ip={EDGE4}",
        f"--jsonfile={report}",
    ]
    done = _run("testssl", *options, f"https://{NAME}:{port}/")
    found = json.loads(report.read_text()) if report.exists() else []
    if len(found) < 50:
        raise RuntimeError(f"testssl.sh looked at {len(found)} things only: {done.stdout}{done.stderr}")
    bad = {one["id"]: f"{one['severity']}: {one['finding']}" for one in found if one["severity"] not in HARMLESS}
    return {name: text for name, text in bad.items() if name not in WAIVED}


@dataclass(frozen=True)
class Asked:
    """One request of schemathesis and what came back."""

    method: str
    path: str
    status: int
    request_id: str | None


def fuzz(url: str, document: Path, report: Path, *options: str) -> list[Asked]:
    """Send what schemathesis makes of an OpenAPI document, right and wrong; return everything it was answered."""
    argv = ["run", str(document), f"--url={url}", f"--tls-verify={AUTHORITY}", "--checks=not_a_server_error"]
    argv += ["--no-color", "--continue-on-failure", "--no-shrink", "--generation-database=none", "--seed=1"]
    done = _run(str(PROGRAMS / "schemathesis"), *argv, "--report=har", f"--report-har-path={report}", *options)
    if not report.exists():
        raise RuntimeError(f"schemathesis wrote no report: {done.stdout}{done.stderr}")
    entries = json.loads(report.read_text())["log"]["entries"]
    return [_asked(entry, url) for entry in entries]


def _asked(entry: dict[str, dict[str, object]], url: str) -> Asked:
    request, response = entry["request"], entry["response"]
    headers = {str(header["name"]).lower(): str(header["value"]) for header in response["headers"]}  # type: ignore[attr-defined]
    return Asked(
        str(request["method"]),
        str(request["url"]).removeprefix(url).split("?")[0],
        int(str(response["status"])),
        headers.get("x-request-id"),
    )
