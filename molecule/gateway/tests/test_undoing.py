"""A reboot, and then the way back: removal, an installation that fails, and another one that does not."""

from __future__ import annotations

from collections.abc import Callable

from gateway.support import Send, playbook, request
from testinfra.host import Host

REMOVE = "molecule/gateway/remove.yml"
PLACES = "/etc/hardened-vllm/gateway /run/hardened-vllm-gateway /etc/logrotate.d/hardened-vllm-gateway"
UNIT = "/etc/systemd/system/hardened-vllm-gateway.service"
LOGS = "/var/log/hardened-vllm-gateway"


def left(gateway: Host) -> list[str]:
    """Return what exists of the gateway's files, and its doors."""
    found = gateway.run(f"ls -d {PLACES} {UNIT} /var/lib/hardened-vllm/unfinished-* 2>/dev/null; ss -Hltn | grep :443")
    return list(found.stdout.split())


def test_a_reboot_brings_it_back_and_a_run_finds_nothing_to_do(
    reboot: Callable[[str], None], observer: Host, send: Send, keys: dict[str, str]
) -> None:
    reboot("gateway")
    observer.run_expect([0], "ip neigh flush all")  # a node of the lab comes back with other hardware addresses
    run = playbook()
    assert run.returncode == 0, run.stdout
    assert "changed=0" in run.stdout.split("PLAY RECAP")[1]
    assert send([request("GET /v1/models HTTP/1.1", keys["acme"])])[0].status == 200


def test_removal_leaves_the_logs_and_a_second_one_changes_nothing(gateway: Host) -> None:
    first, second = playbook(name=REMOVE), playbook(name=REMOVE)
    assert first.returncode == 0, first.stdout
    assert "changed=0" in second.stdout.split("PLAY RECAP")[1]
    assert left(gateway) == []
    assert gateway.file(LOGS).exists


def test_an_installation_that_fails_leaves_nothing(gateway: Host) -> None:
    run = playbook("-e", "gateway_worker_processes=none")
    assert run.returncode != 0
    assert "All files are as they were before." in run.stdout
    assert left(gateway) == []


def test_an_installation_whose_port_is_taken_leaves_nothing(gateway: Host) -> None:
    server = "python3 -m http.server --bind 10.207.3.20 443"
    gateway.run_expect([0], f"systemd-run --quiet --unit=squatter {server}; sleep 1")
    try:
        run = playbook()
    finally:
        gateway.run_expect([0], "systemctl stop squatter")
    assert run.returncode != 0
    assert "bind() to 10.207.3.20:443 failed (98: Address already in use)" in run.stdout
    assert left(gateway) == []


def test_it_can_be_installed_again_and_removed_with_its_data(gateway: Host, send: Send, keys: dict[str, str]) -> None:
    again = playbook()
    assert again.returncode == 0, again.stdout
    assert send([request("GET /v1/models HTTP/1.1", keys["acme"])])[0].status == 200
    gone = playbook("-e", "gateway_remove_data=true", name=REMOVE)
    assert gone.returncode == 0, gone.stdout
    assert left(gateway) == []
    assert not gateway.file(LOGS).exists
    assert not gateway.user("hardened-vllm-gateway").exists
