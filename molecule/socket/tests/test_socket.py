# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real vLLM on a socket: its gateway serves through it, nobody else gets to it, and it comes back by itself."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from lab import runs
from lab.runs import Run
from lab.testing import Console, wait_for

ROOT = Path(__file__).resolve().parents[3]
LAB = ROOT / ".lab" / "socket"
UNIT = "hardened-vllm-engine"
WATCH = "hardened-vllm-watch-engine"
DIRECTORY = "/run/hardened-vllm-engine"
SOCKET = f"{DIRECTORY}/api.sock"
ADDRESSES = ("10.233.41.11", "fd77:741::11", "10.233.42.11", "fd77:742::11", "10.233.43.11", "fd77:743::11")
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
NGINX = ("setpriv", "--reuid=hardened-vllm-gateway", "--regid=hardened-vllm-gateway", "--init-groups")
START_SECONDS = 240
# What vLLM's server does with --uds, and an answer of it.
OPEN = """
import os, socket
os.umask(0)
os.makedirs("/run/open", mode=0o755, exist_ok=True)
server = socket.socket(socket.AF_UNIX)
server.bind("/run/open/api.sock")
server.listen()
while True:
    connection = server.accept()[0]
    connection.recv(65536)
    connection.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\nhello")
    connection.close()
"""


def play(playbook: str, *options: str, **variables: Any) -> Run:
    return runs.play("socket", ROOT / "playbooks" / f"{playbook}.yml", *options, **variables)


@pytest.fixture
def host(console: Callable[[str], Console]) -> Console:
    return console("node")


def client() -> httpx.Client:
    key = (LAB / "secrets/tenants/acme/k1.key").read_text().strip()
    context = ssl.create_default_context(cafile=str(LAB / "tls/ca.pem"))
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url="https://10.233.43.11", headers=headers, verify=context, trust_env=False, timeout=60)


def tokens(count: int = 1) -> int:
    """Return how many tokens came of a completion, 0 for any failure."""
    asked = {"model": "tiny", "prompt": "Hello, who is there?", "max_tokens": count, "ignore_eos": True}
    try:
        with client() as http:
            answer = http.post("/v1/completions", json=asked)
    except httpx.TransportError:
        return 0
    return int(answer.json()["usage"]["completion_tokens"]) if answer.status_code == 200 else 0


def status(host: Console, *who: str, socket: str = SOCKET, path: str = "/metrics") -> str:
    """Return the status ``who`` gets on a socket, or curl's own code when it gets none."""
    argv = ["curl", "--silent", "--max-time", "5", "--output", "/dev/null", "--write-out", "%{http_code}"]
    done = host.start(*who, *argv, "--unix-socket", socket, f"http://localhost{path}")
    return done.stdout if done.returncode == 0 else f"curl {done.returncode}"


def pid(host: Console) -> int:
    return int(host.run("systemctl", "show", "--property=MainPID", "--value", UNIT))


def test_a_completion_and_a_stream_come_through() -> None:
    assert tokens(5) == 5
    asked = {"model": "tiny", "prompt": "Hello, who is there?", "max_tokens": 40, "ignore_eos": True, "stream": True}
    with client() as http, http.stream("POST", "/v1/completions", json=asked) as answer:
        lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
    assert answer.status_code == 200
    assert lines[-1] == "data: [DONE]" and len(lines) > 2
    assert json.loads(lines[-2].removeprefix("data: "))["choices"][0]["finish_reason"] == "length"


def test_nginx_keeps_its_connection_and_logs_the_socket(host: Console) -> None:
    def connected() -> set[str]:
        table = host.run("cat", "/proc/net/unix").splitlines()
        return {line.split()[6] for line in table if line.endswith(f" {SOCKET}") and line.split()[5] == "03"}

    assert tokens() == 1
    before = connected()
    assert tokens() == 1
    assert before & connected(), "the second request goes over the connection of the first"
    line = json.loads(host.run("tail", "--lines=1", "/var/log/hardened-vllm-gateway/access.log"))
    assert (line["upstream"], line["status"], line["tenant"]) == (f"unix:{SOCKET}", 200, "acme")


def test_a_user_of_the_host_reaches_a_port_and_an_open_socket_but_not_ours(host: Console) -> None:
    host.run("systemd-run", "--unit=open", "/usr/bin/python3", "-c", OPEN)
    try:
        wait_for(lambda: status(host, socket="/run/open/api.sock") == "200", 10)
        assert status(host, *NOBODY, socket="/run/open/api.sock") == "200", "the attack does not work"
    finally:
        host.run("systemctl", "stop", "open")
    # curl's 7: could not connect.
    assert status(host, *NOBODY) == "curl 7"
    # The engine's own group is not the one.
    assert status(host, "setpriv", "--reuid=65534", "--regid=vllm", "--clear-groups") == "curl 7"
    assert status(host, *NGINX) == status(host) == "200"
    assert status(host, *NGINX, path="/v1/models") == "401", "the key is asked for here too"


def test_no_address_has_a_port_for_the_api(host: Console, console: Callable[[str], Console]) -> None:
    listening = host.run("ss", "--no-header", "--listening", "--tcp", "--numeric")
    assert "8000" not in {line.split()[3].rsplit(":", 1)[1] for line in listening.splitlines()}
    ask = (
        "import socket, sys\nfor address in sys.argv[1:]:\n    with socket.socket(socket.AF_INET6 if ':' in address"
        " else socket.AF_INET) as one:\n        one.settimeout(2)\n        print(address, one.connect_ex((address, 8000)))"
    )
    for place, addresses in ((host, (*ADDRESSES, "127.0.0.1", "::1")), (console("other"), ADDRESSES)):
        answers = place.run("python3", "-c", ask, *addresses).splitlines()
        assert len(answers) == len(addresses) and not [line for line in answers if line.endswith(" 0")]


def test_others_see_nothing_of_what_the_engine_writes_but_its_directories(host: Console) -> None:
    """The umask leaves rights to a group for the socket's sake; nobody gets to anything else it was left on."""
    places = ["/", "/run", "/tmp", "/var/tmp", "/dev/shm"]  # noqa: S108 - looked at
    words = ["find", *places, "-xdev", "(", "-user", "vllm", "-o", "-group", "vllm", ")", "-not", "-path", "/proc/*"]
    seen = {
        name: set(host.start(*who, *words).stdout.split())
        for name, who in (("all", ()), ("no", NOBODY), ("nginx", NGINX))
    }
    own = {"/var/lib/vllm", "/var/cache/vllm", "/run/vllm", DIRECTORY}
    written = {path for path in seen["all"] if path not in own and not path.startswith("/etc/hardened-vllm/")}
    assert len(written) > 3
    assert {path for path in seen["no"] if not path.startswith("/etc/hardened-vllm/")} == own
    assert {path for path in seen["nginx"] if not path.startswith("/etc/hardened-vllm/")} == own | {SOCKET}
    assert host.run("stat", "--format=%A %U %G", DIRECTORY, SOCKET).splitlines() == [
        "drwxr-s--- vllm hardened-vllm-gateway",
        "srwxrwx--- vllm hardened-vllm-gateway",
    ]


def test_monitors_get_health_and_metrics_through_the_gateway(console: Callable[[str], Console]) -> None:
    ask = "curl --silent --max-time 5 --insecure https://10.233.42.11:9443/node"
    assert console("other").shell(f"{ask}/health --output /dev/null --write-out '%{{http_code}}'") == "200"
    assert "vllm:generation_tokens_total" in console("other").shell(f"{ask}/metrics")


def watched(host: Console, **more: str) -> str:
    """Return what the watch says in its own sandbox, asked to look at once."""
    told = json.loads(host.run("cat", "/etc/hardened-vllm/engine/watch.json"))
    place = f"/run/systemd/system/{WATCH}.service.d"
    host.run("mkdir", "--parents", place)
    host.run("tee", "/run/told.json", given=json.dumps(told | {"settle_seconds": 0}))
    lines = [
        "[Service]",
        "ExecStart=",
        "ExecStart=/usr/bin/python3 -I /etc/hardened-vllm/engine/watch.py /run/told.json",
    ]
    host.run("tee", f"{place}/now.conf", given="\n".join(lines + [f"{key}={value}" for key, value in more.items()]))
    cursor = host.run("journalctl", "--lines=0", "--show-cursor").split("cursor: ")[1].strip()
    try:
        host.run("systemctl", "daemon-reload")
        host.run("systemctl", "start", f"{WATCH}.service")
    finally:
        host.run("rm", "--recursive", place, "/run/told.json")
        host.run("systemctl", "daemon-reload")
    return host.run("journalctl", f"--unit={WATCH}", "--output=cat", f"--after-cursor={cursor}")


def test_what_watches_the_engine_gets_to_the_socket_as_nginx_does(host: Console) -> None:
    def served() -> float:
        lines = host.run("curl", "--silent", "--unix-socket", SOCKET, "http://localhost/metrics").splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:generation_tokens_total{"))

    before = served()
    assert "generates nothing" not in watched(host)
    assert served() == before + 1
    assert "PermissionError" in watched(host, SupplementaryGroups=""), "without the group it would not"


def test_the_audit_finds_a_socket_that_is_open_to_others(host: Console) -> None:
    """What it says of the ports gloo takes on the fabric address is another matter."""
    assert "[GW-12]" not in play("audit").text
    host.run("chmod", "0777", SOCKET)
    run = play("audit")
    host.run("chmod", "0770", SOCKET)
    assert f"[GW-12] node: {SOCKET}: found socket 0777" in run.text, run.text


def test_an_engine_that_was_killed_comes_back_on_its_socket(host: Console) -> None:
    before = pid(host)
    host.run("systemctl", "kill", "--signal=KILL", UNIT)
    wait_for(lambda: pid(host) not in (0, before), 60)
    wait_for(lambda: tokens() == 1, START_SECONDS)


def test_a_change_waits_for_the_socket_to_be_idle(host: Console) -> None:
    before = pid(host)
    refused = play("upgrade", socket_scenario_queue=32)
    assert refused.code != 0 and "has no other that serves in its place" in " ".join(refused.text.split()), refused.text
    assert pid(host) == before
    run = play("upgrade", socket_scenario_queue=32, upgrade_downtime_ok=True)
    assert run.code == 0, run.text
    assert pid(host) != before and tokens() == 1
    assert "Wait until it has answered what it had taken" in run.text


def test_it_serves_again_after_a_reboot(reboot: Callable[[str], None]) -> None:
    reboot("node")
    wait_for(lambda: tokens() == 1, START_SECONDS)
    run = play("site", socket_scenario_queue=32)
    assert run.code == 0 and set(run.changed().values()) == {0}, run.text


def test_a_port_instead_is_open_to_every_user_of_the_host(host: Console) -> None:
    """Both ends change together, and what was the socket's is gone."""
    refused = play("upgrade", socket_scenario_listener="tcp", upgrade_downtime_ok=True)
    assert refused.code != 0 and "runs with --uds" in " ".join(refused.text.split()), refused.text
    run = play("site", socket_scenario_listener="tcp", site_restart_ok=True)
    assert run.code == 0, run.text
    assert tokens() == 1
    asked = json.dumps({"model": "tiny", "prompt": "Hello, who is there?", "max_tokens": 1})
    ask = ("curl", "--silent", "--max-time", "20", "--header", "Content-Type: application/json", "--data", asked)
    answer = json.loads(host.run(*NOBODY, *ask, "http://10.233.41.11:8000/invocations"))
    assert answer["usage"]["completion_tokens"] == 1, "inference without a key"
    assert host.start("test", "-e", DIRECTORY).returncode != 0
