"""Large prompts and images pass in full; no byte of them is written to a disk, and their room ends."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterator

import pytest
from gateway.support import EDGE4, LAB, NAME, Seen, playbook
from lab.testing import wait_for
from testinfra.host import Host

# The unit's own, as its first process sees it.
BODIES = "/proc/$(cat /run/hardened-vllm-gateway/nginx.pid)/root/run/hardened-vllm-gateway/body"
PROMPT, IMAGE = 220_000, 20_000_000
# A line of the access log dirties a page of a disk, sometimes two.
LOGGED = 65_536


class Upload:
    """A request whose body is sent but for its last byte."""

    def __init__(self, key: str, size: int) -> None:
        context = ssl.create_default_context(cafile=str(LAB / "tls" / "ca.pem"))
        self.connection = http.client.HTTPSConnection(NAME, timeout=60)
        plain = socket.create_connection((EDGE4, 443), timeout=60)
        self.connection.sock = context.wrap_socket(plain, server_hostname=NAME)
        self.connection.putrequest("POST", "/v1/messages")
        for header in (f"Authorization: Bearer {key}", "Content-Type: application/json", f"Content-Length: {size}"):
            self.connection.putheader(*header.split(": "))
        self.connection.endheaders()
        # A gateway that has no room answers, and reads no more.
        with contextlib.suppress(OSError):
            self.connection.send(b'{"prompt": "' + b"x" * (size - 14) + b'"')

    def end(self) -> tuple[int, str]:
        """Send the last byte; return status and body of the answer."""
        with contextlib.suppress(OSError):
            self.connection.send(b"}")
        answer = self.connection.getresponse()
        status, body = answer.status, answer.read().decode()
        self.connection.close()
        return status, body


def post(key: str, size: int) -> int:
    """Send a body of a size and return the status."""
    return Upload(key, size).end()[0]


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


def used(gateway: Host, path: str) -> int:
    """Return how many bytes of a file system are taken."""
    return int(gateway.check_output(f"stat --file-system --format='%b %f %S' {path} | awk '{{print ($1 - $2) * $3}}'"))


def test_large_bodies_leave_the_hosts_memory_for_others_alone(gateway: Host, keys: dict[str, str]) -> None:
    before = used(gateway, "/run")
    uploads = [Upload(keys["acme"], IMAGE) for _number in range(4)]
    wait_for(lambda: used(gateway, BODIES) >= 4 * IMAGE * 0.95, 20, "the bodies did not come where they belong")
    assert used(gateway, "/run") - before < IMAGE / 20
    assert [upload.end()[0] for upload in uploads] == [200] * 4


@pytest.fixture
def little_memory() -> Iterator[None]:
    """A gateway that has room for one large body, not for two."""
    run = playbook("-e", "gateway_body_memory=32M")
    assert run.returncode == 0, run.stdout
    yield
    assert playbook().returncode == 0


@pytest.mark.usefixtures("little_memory")
def test_without_room_for_large_bodies_small_ones_pass(gateway: Host, keys: dict[str, str]) -> None:
    first = Upload(keys["acme"], IMAGE)
    wait_for(lambda: used(gateway, BODIES) >= IMAGE * 0.95, 20, "the body did not come where it belongs")
    others = [Upload(keys["acme"], IMAGE) for _number in range(2)]
    assert post(keys["acme"], 1000) == post(keys["acme"], PROMPT) == 200
    answers = [upload.end() for upload in others]
    assert [status for status, _body in answers] == [502, 502]
    assert {json.loads(body)["error"]["message"] for _status, body in answers} == {"The service failed."}
    assert first.end()[0] == 200
    wait_for(lambda: used(gateway, BODIES) < 65536, 20, "what was refused left something behind")
    assert post(keys["acme"], IMAGE) == 200


def test_no_amount_of_memory_is_refused_before_anything_changes() -> None:
    run = playbook("-e", "gateway_body_memory=plenty")
    assert run.returncode != 0 and "Found gateway_body_memory=plenty" in run.stdout
