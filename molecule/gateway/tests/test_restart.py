"""A change for which the gateway would have to restart waits until somebody says so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from gateway.support import LAB, Send, chat, playbook
from testinfra.host import Host

UNIT = "hardened-vllm-gateway.service"
CHANGE = ("-e", "gateway_worker_connections=20000")
SITE = {"name": "playbooks/site.yml"}
EVENTS = 100


def state(gateway: Host) -> str:
    """What tells a restart or a change of the configuration."""
    show = f"systemctl show --property=MainPID,LimitNOFILE {UNIT}"
    return str(
        gateway.check_output(f"{show}; cat /etc/systemd/system/{UNIT} /etc/hardened-vllm/gateway/*.conf | sha256sum")
    )


@pytest.fixture
def as_before() -> Iterator[None]:
    yield
    assert playbook().returncode == 0


@pytest.mark.usefixtures("as_before")
def test_site_restarts_no_gateway_that_serves(gateway: Host, send: Send, keys: dict[str, str]) -> None:
    before = state(gateway)
    with ThreadPoolExecutor(1) as pool:
        streams = pool.submit(send, [chat(keys["acme"], {"stream": True, "events": EVENTS})] * 20)
        time.sleep(1)
        refused = playbook("--tags", "gateway", *CHANGE, **SITE)
        assert not streams.done(), "the streams were to be open all the time"
        assert refused.returncode != 0
        said = " ".join(refused.stdout.split())
        assert f"{UNIT} would change" in said and "site --tags gateway -e site_restart_ok=true" in said
        for answer in streams.result():
            assert answer.body.count("data: ") == EVENTS and answer.text.endswith("0\r\n\r\n")
    assert state(gateway) == before

    allowed = playbook("--tags", "gateway", *CHANGE, "-e", "site_restart_ok=true", **SITE)
    assert allowed.returncode == 0, allowed.stdout
    assert "LimitNOFILE=40000" in state(gateway)


@pytest.mark.usefixtures("as_before")
def test_what_needs_no_restart_is_not_asked_about(gateway: Host) -> None:
    before = gateway.check_output(f"systemctl show --property=MainPID {UNIT}")
    run = playbook("--tags", "gateway", "-e", "gateway_worker_connections=10000", **SITE)
    assert run.returncode == 0, run.stdout
    assert "worker_connections 10000;" in gateway.file("/etc/hardened-vllm/gateway/nginx.conf").content_string
    assert playbook("--tags", "gateway", **SITE).returncode == 0
    assert gateway.check_output(f"systemctl show --property=MainPID {UNIT}") == before


@pytest.mark.usefixtures("as_before")
def test_new_keys_do_not_wait_for_a_restart(gateway: Host, keys: dict[str, str]) -> None:
    before = gateway.check_output(f"systemctl show --property=MainPID,LimitNOFILE {UNIT}")
    run = playbook(*CHANGE, "-e", "rotate_tenant=narrow", name="playbooks/rotate_keys.yml")
    assert run.returncode == 0, run.stdout
    assert (LAB / "secrets/tenants/narrow/k1.key").read_text().strip() != keys["narrow"]
    assert gateway.check_output(f"systemctl show --property=MainPID,LimitNOFILE {UNIT}") == before
