# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real vLLM behind TLS with certificates on both ends: turned on, renewed without a restart, turned off."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lab.testing import Console

from .conftest import LAB, UNIT, Service, play

pytestmark = pytest.mark.slow
MUTUAL = {"default_scenario_engine_tls": {"client": True}}
ENGINE = ("10.220.1.11", 8000)
SECRETS = LAB / "secrets" / "tls"
CONFIGURATION = "/etc/hardened-vllm/engine"
ASK = "curl --silent --max-time 10 --insecure --output /dev/null --write-out '%{http_code}'"


def pid(head: Console) -> str:
    return head.run("systemctl", "show", "--property=MainPID", UNIT).strip()


def shown(gateway: Console) -> str:
    """Return the digest of the certificate the engine shows to its gateway."""
    pem = "/etc/hardened-vllm/gateway/engines-client.pem"
    ask = f"echo | openssl s_client -connect {ENGINE[0]}:{ENGINE[1]} -cert {pem} -key {pem} 2>/dev/null"
    return gateway.shell(f"{ask} | openssl x509 -noout -fingerprint -sha256").strip()


@pytest.fixture
def gateway(console: Callable[[str], Console]) -> Console:
    return console("gateway")


def test_in_plain_http_the_engine_answers_whoever_the_firewall_lets_through(gateway: Console) -> None:
    assert gateway.shell(f"{ASK} http://{ENGINE[0]}:{ENGINE[1]}/metrics") == "200"


def test_neither_playbook_turns_it_on_by_the_way(service: Service, head: Console) -> None:
    before = pid(head)
    for name, said in (
        ("site", "-e site_restart_ok=true"),
        ("upgrade", "engine.tls and engine.listener ask for --ssl-cert-reqs and --ssl-certfile"),
    ):
        run = play(name, **MUTUAL)
        assert run.code != 0 and said in " ".join(run.text.split()), run.text
    assert pid(head) == before
    assert service.generates()


def test_both_ends_turn_it_on_together(service: Service, head: Console) -> None:
    run = play("site", site_restart_ok=True, **MUTUAL)
    assert run.code == 0, run.text
    assert service.generates()
    argv = head.run("systemctl", "show", "--property=ExecStart", UNIT)
    assert f"--ssl-certfile {CONFIGURATION}/tls.pem" in argv and "PRIVATE" not in argv
    assert head.run("stat", "--format=%a %U %G", f"{CONFIGURATION}/tls.pem").split() == ["640", "root", "vllm"]
    assert head.run("stat", "--format=%a %U", f"{CONFIGURATION}/client.pem").split() == ["600", "root"]
    again = play("site", **MUTUAL)
    assert again.code == 0 and set(again.changed().values()) == {0}, again.text


def test_the_engine_answers_nobody_without_a_certificate(service: Service, gateway: Console) -> None:
    for url in (f"http://{ENGINE[0]}:{ENGINE[1]}/metrics", f"https://{ENGINE[0]}:{ENGINE[1]}/metrics"):
        done = gateway.start("sh", "-c", f"{ASK} {url}")
        assert done.returncode != 0 and done.stdout == "000", url
    pem = "/etc/hardened-vllm/gateway/engines-client.pem"
    assert gateway.shell(f"{ASK} --cert {pem} https://{ENGINE[0]}:{ENGINE[1]}/metrics") == "200"
    old = "echo | openssl s_client -tls1_1 -cipher ALL:@SECLEVEL=0 -connect 10.220.1.11:8000"
    assert gateway.start("sh", "-c", old).returncode != 0
    assert service.generates()


def test_what_watches_the_engine_speaks_tls(head: Console) -> None:
    head.run("systemctl", "start", "hardened-vllm-watch-engine.service")
    head.run("python3", "-I", f"{CONFIGURATION}/watch.py", f"{CONFIGURATION}/watch.json")
    assert "generates nothing" not in head.run(
        "journalctl", "--unit=hardened-vllm-watch-engine.service", "--output=cat", "--lines=5"
    )


def test_renewed_certificates_come_into_force_without_a_restart(
    service: Service, head: Console, gateway: Console
) -> None:
    """Twice: vLLM loses sight of a file that is renamed over, and would miss the second."""
    before, seen = pid(head), {shown(gateway)}
    for number in (2, 3):
        for name in ("engines", "gateways"):
            (SECRETS / f"{name}.pem").unlink()
        run = play("site", **MUTUAL)
        assert run.code == 0, run.text
        deadline = time.monotonic() + 20
        while shown(gateway) in seen and time.monotonic() < deadline:
            time.sleep(1)
        seen.add(shown(gateway))
        assert len(seen) == number
        assert service.generates()
    assert pid(head) == before


def test_the_audit_takes_it_for_what_it_is(tmp_path: Path) -> None:
    run = play("audit", audit_report_dir=str(tmp_path), **MUTUAL)
    assert run.code == 0, run.text
    outcomes = json.loads((tmp_path / "report.json").read_text())["outcomes"]
    ended = {one["outcome"] for one in outcomes if one["control"] == "GW-11"}
    assert ended == {"passed", "not applicable"}, outcomes


def test_both_ends_turn_it_off_together(service: Service, head: Console, gateway: Console) -> None:
    run = play("site", site_restart_ok=True)
    assert run.code == 0, run.text
    assert service.generates()
    kept = ["engine.env", "lifeline.json", "lifeline.py", "secrets.yaml", "watch.json", "watch.py"]
    assert head.shell(f"ls {CONFIGURATION}").split() == kept
    assert gateway.shell("ls /etc/hardened-vllm/gateway | grep engines || true") == ""
