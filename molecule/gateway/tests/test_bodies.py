"""Large prompts and images pass in full, and no byte of them is written to a disk."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator

import pytest
from gateway.support import EDGE4, LAB, NAME, Seen, playbook
from lab.testing import wait_for
from testinfra.host import Host

BODIES = "/run/hardened-vllm-gateway/body"
PROMPT, IMAGE = 220_000, 20_000_000
# A line of the access log dirties a page of a disk, sometimes two.
LOGGED = 65_536


def post(key: str, size: int) -> int:
    """Send a body of a size and return the status."""
    context = ssl.create_default_context(cafile=str(LAB / "tls" / "ca.pem"))
    connection = http.client.HTTPSConnection(NAME, timeout=60)
    connection.sock = context.wrap_socket(socket.create_connection((EDGE4, 443), timeout=60), server_hostname=NAME)
    body = b'{"prompt": "' + b"x" * (size - 14) + b'"}'
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/messages", body, headers)
    return connection.getresponse().status


def workers(gateway: Host) -> set[str]:
    """Return the processes of nginx's workers, those that end included."""
    return set(gateway.check_output("pgrep --parent $(cat /run/hardened-vllm-gateway/nginx.pid)").split())


def written(gateway: Host) -> int:
    """Return how many bytes nginx has sent to disks so far, its workers together."""
    lines = gateway.check_output("cat " + " ".join(f"/proc/{pid}/io" for pid in workers(gateway))).splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def touched(gateway: Host) -> str:
    """Return when a file was last made or removed where large bodies go."""
    return str(gateway.check_output(f"stat --format=%y {BODIES}"))


@pytest.mark.parametrize(("size", "in_file"), [(PROMPT, False), (IMAGE, True)], ids=["prompt", "image"])
def test_a_large_body_passes_without_a_disk(
    gateway: Host, seen: Seen, keys: dict[str, str], size: int, in_file: bool
) -> None:
    assert gateway.check_output(f"stat --file-system --format=%T {BODIES}") == "tmpfs"
    before, files = written(gateway), touched(gateway)
    assert post(keys["acme"], size) == 200
    assert written(gateway) - before < LOGGED
    assert (touched(gateway) != files) == in_file
    assert [entry["body_bytes"] for entry in seen()] == [size]
    assert gateway.check_output(f"find {BODIES} -type f") == "", "nothing is left behind"


@pytest.fixture
def bodies_on_a_disk(gateway: Host) -> Iterator[None]:
    """The same gateway with the directory nginx would have by habit: on a disk."""
    place = "/var/log/hardened-vllm-gateway/body"
    gateway.check_output(f"install -d -m 0700 -o hardened-vllm-gateway {place}")
    gateway.check_output(
        f"sed -i 's,client_body_temp_path .*,client_body_temp_path {place};,' /etc/hardened-vllm/gateway/nginx.conf"
    )
    old = workers(gateway)
    gateway.check_output("systemctl reload hardened-vllm-gateway")
    # What old workers wrote would be missing from the sum when they are gone, and they have the old place.
    wait_for(lambda: not old & workers(gateway), 30, "workers from before the reload did not end")
    yield
    assert playbook().returncode == 0
    gateway.check_output(f"rm -r {place}")


@pytest.mark.usefixtures("bodies_on_a_disk")
def test_a_disk_would_be_noticed(gateway: Host, keys: dict[str, str]) -> None:
    before = written(gateway)
    assert post(keys["acme"], IMAGE) == 200
    assert written(gateway) - before >= IMAGE
