# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The script that renews the gateway's certificate: a new one comes into force, whatever failed the first time."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
specification = importlib.util.spec_from_file_location("gateway", ROOT / "tests/support/gateway.py")
assert specification is not None and specification.loader is not None
support = importlib.util.module_from_spec(specification)
specification.loader.exec_module(support)

# Does what the file "lego-does" says, and keeps what it was asked for.
LEGO = """#!/bin/sh
cd "$(dirname "$0")"
for last; do :; done
echo "$*" >>asked
case "$(cat lego-does)" in
    new) date +%N >certificate ;;
    fail) exit 3 ;;
esac
"""
# Notes the certificate that is in force from now on, unless it is to fail.
RELOAD = """import pathlib, sys
here = pathlib.Path(__file__).parent
if (here / "reload-fails").exists():
    sys.exit(1)
with (here / "in-force").open("a") as file:
    file.write((here / "certificate").read_text())
"""


class Host:
    """A directory with the script, and with stand-ins for lego and the reload."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        acme = {"directory": "https://acme.example/d", "contact": "a@example.org", "authority": None}
        part: dict[str, Any] = {"server_name": "llm.example.org", "tls": {"issuer": "acme", "acme": acme}}
        part["tls"] |= {"certificate": str(directory / "certificate"), "key": str(directory / "key")}
        lego, state = str(directory / "lego"), str(directory)
        variables = {"__gateway_lego": lego, "__gateway_state_directory": state}
        source = "etc/hardened-vllm/gateway/certificate.sh"
        (directory / "certificate.sh").write_text(support.text(directory, part, source, **variables))
        (directory / "lego").write_text(LEGO)
        (directory / "lego").chmod(0o755)
        (directory / "reload.py").write_text(RELOAD)
        (directory / "nginx.pid").write_text("1\n")

    def run(self, lego: str = "nothing", reload_fails: bool = False) -> int:
        """Run the script once; return its status."""
        (self.directory / "lego-does").write_text(lego)
        (self.directory / "reload-fails").unlink(missing_ok=True)
        if reload_fails:
            (self.directory / "reload-fails").touch()
        argv = ["sh", str(self.directory / "certificate.sh")]
        return subprocess.run(argv, capture_output=True, check=False).returncode

    def in_force(self) -> list[str]:
        """Return the certificates nginx has taken, one after the other."""
        file = self.directory / "in-force"
        return file.read_text().splitlines() if file.exists() else []

    def on_disk(self) -> str:
        return (self.directory / "certificate").read_text().strip()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host whose first certificate is in force."""
    made = Host(tmp_path)
    assert made.run("new") == 0 and (tmp_path / "asked").read_text().split()[-1] == "run"
    assert made.run("new") == 0 and made.in_force() == [made.on_disk()]
    return made


def test_a_renewed_certificate_comes_into_force_once(host: Host) -> None:
    assert host.run("new") == 0
    assert host.in_force()[-1] == host.on_disk()
    taken = host.in_force()
    assert host.run() == 0
    assert host.in_force() == taken, "nothing new, and nothing reloaded"


@pytest.mark.parametrize("lego", ["nothing", "fail"])
def test_after_a_reload_that_failed_the_next_run_makes_up_for_it(host: Host, lego: str) -> None:
    old = host.on_disk()
    assert host.run("new", reload_fails=True) == 1
    assert (host.in_force()[-1], host.on_disk() == old) == (old, False)
    assert host.run(lego, reload_fails=True) != 0, "said again until it is done"
    assert (host.run(lego) == 0) == (lego != "fail"), "that nothing was renewed is said too"
    assert host.in_force()[-1] == host.on_disk()


def test_without_a_running_nginx_nothing_is_reloaded(host: Host) -> None:
    (host.directory / "nginx.pid").unlink()
    taken = host.in_force()
    assert host.run("new") == 0
    assert host.in_force() == taken
