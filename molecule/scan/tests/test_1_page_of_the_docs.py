# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same scanners in front of the nginx that vLLM's documentation shows, on the same hosts: each of them finds something."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab import runs
from lab.testing import Console
from scan.support import EDGE4, ROOT, differences_from_intermediate, fuzz, ports, weaknesses

# The page's own configuration, once as it is and once with a certificate and nginx's defaults for TLS.
PAGE = f"""
pid /run/page.pid;
events {{}}
http {{
    access_log off;
    upstream backend {{
        least_conn;
        server 10.229.1.11:8000 max_fails=3 fail_timeout=10000s;
    }}
    server {{
        listen {EDGE4}:80;
        listen {EDGE4}:8443 ssl;
        ssl_certificate /etc/hardened-vllm/gateway/tls.crt;
        ssl_certificate_key /etc/hardened-vllm/gateway/tls.key;
        location / {{
            proxy_pass http://backend;
            proxy_set_header Host $host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"""
# vLLM answers these without a key. What would change the engine is not asked for.
KEYLESS = ["/version", "/metrics", "/load", "/health", "/ping", "/tokenize", "/detokenize"]


@pytest.fixture(scope="module", autouse=True)
def page(console: Callable[[str], Console]) -> Iterator[None]:
    """The gateway's host as the page leaves it: that nginx, and no firewall."""
    gateway = console("gateway")
    gateway.run("sh", "-c", "cat > /root/page.conf", given=PAGE)
    gateway.shell("nft delete table inet hardened_vllm; nginx -q -c /root/page.conf >/dev/null 2>&1")
    yield
    gateway.shell("kill $(cat /run/page.pid); rm /root/page.conf")
    run = runs.play("scan", ROOT / "playbooks/site.yml", "--tags", "isolation")
    assert run.code == 0, run.text


def test_gixy_finds_a_weakness(tmp_path: Path) -> None:
    """What it finds in ours, a unit test says: nothing."""
    (tmp_path / "nginx.conf").write_text(PAGE)
    argv = [sys.executable, "-m", "gixy", "-f", "json", str(tmp_path / "nginx.conf")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "HIGH" in {finding["severity"] for finding in json.loads(done.stdout)}


def test_nmap_finds_other_ports() -> None:
    assert ports(EDGE4) > {22, 80, 443}


def test_sslyze_finds_weak_suites() -> None:
    assert any("Cipher suites" in line for line in differences_from_intermediate(8443))


def test_testssl_finds_weaknesses(tmp_path: Path) -> None:
    assert "security_headers" in weaknesses(8443, tmp_path / "report.json")


def test_schemathesis_gets_through_without_a_key(document: Path, tmp_path: Path) -> None:
    chosen = [f"--include-path={path}" for path in KEYLESS]
    asked = fuzz(f"http://{EDGE4}", document, tmp_path / "report.har", "--phases=fuzzing", "--max-examples=5", *chosen)
    assert {one.path for one in asked if one.status == 200} == set(KEYLESS)
