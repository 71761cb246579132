"""A reboot, and then the way back: removal, an installation that fails, and another one that does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
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


@pytest.fixture(scope="module")
def other_site(gateway: Host) -> Iterator[Callable[[], str]]:
    """A site that somebody else runs on the distribution's nginx; the function tells everything about it."""
    site = "server { listen 127.0.0.1:8080; location / { return 200 other; } }"
    gateway.check_output(f"echo '{site}' > /etc/nginx/sites-enabled/other && systemctl enable --now nginx")
    looks = (
        "curl --silent --fail --include http://127.0.0.1:8080/ | grep -v ^Date:",
        "systemctl show --property=MainPID,ExecMainStartTimestamp,ActiveState,UnitFileState nginx",
        "pgrep --parent $(cat /run/nginx.pid)",
        "find /etc/nginx /usr/share/nginx /etc/logrotate.d/nginx -type f -exec sha256sum {} + | sort",
    )
    yield lambda: "\n".join(gateway.check_output(look) for look in looks)
    gateway.check_output("systemctl disable --now nginx; rm /etc/nginx/sites-enabled/other")


@pytest.fixture
def beside_it(other_site: Callable[[], str]) -> Iterator[None]:
    """Whatever the test does, the other site goes on in the same processes with the same files."""
    before = other_site()
    assert "200 OK" in before and before.count("MainPID=") == 1
    yield
    assert other_site() == before


def test_a_reboot_brings_it_back_and_a_run_finds_nothing_to_do(
    reboot: Callable[[str], None], observer: Host, send: Send, keys: dict[str, str]
) -> None:
    reboot("gateway")
    observer.run_expect([0], "ip neigh flush all")  # a node of the lab comes back with other hardware addresses
    run = playbook()
    assert run.returncode == 0, run.stdout
    assert "changed=0" in run.stdout.split("PLAY RECAP")[1]
    assert send([request("GET /v1/models HTTP/1.1", keys["acme"])])[0].status == 200


@pytest.mark.usefixtures("beside_it")
def test_removal_leaves_the_logs_and_a_second_one_changes_nothing(gateway: Host) -> None:
    first, second = playbook(name=REMOVE), playbook(name=REMOVE)
    assert first.returncode == 0, first.stdout
    assert "changed=0" in second.stdout.split("PLAY RECAP")[1]
    assert left(gateway) == []
    assert gateway.file(LOGS).exists


@pytest.mark.usefixtures("beside_it")
def test_an_installation_that_fails_leaves_nothing(gateway: Host) -> None:
    run = playbook("-e", "gateway_worker_processes=none")
    assert run.returncode != 0
    assert "All files are as they were before." in run.stdout
    assert left(gateway) == []


@pytest.mark.usefixtures("beside_it")
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


@pytest.mark.usefixtures("beside_it")
def test_it_can_be_installed_again_and_removed_with_its_data(gateway: Host, send: Send, keys: dict[str, str]) -> None:
    again = playbook()
    assert again.returncode == 0, again.stdout
    assert send([request("GET /v1/models HTTP/1.1", keys["acme"])])[0].status == 200
    gone = playbook("-e", "reset_cluster=gateway-scenario", "-e", "reset_data=true", name="playbooks/reset.yml")
    assert gone.returncode == 0, gone.stdout
    assert left(gateway) == []
    assert not gateway.file(LOGS).exists
    assert not gateway.user("hardened-vllm-gateway").exists
