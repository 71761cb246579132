"""The gateway's host: what listens and who runs it, what lies on disk and in logs, what a bad plan may not break."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from gateway.support import EDGE4, LAB, NAME, Seen, Send, chat, playbook, request
from testinfra.host import Host

DIRECTORY = "/etc/hardened-vllm/gateway"
LOG = "/var/log/hardened-vllm-gateway/access.log"
USER = "hardened-vllm-gateway"
MODELS = "GET /v1/models HTTP/1.1"


def test_nothing_listens_but_the_declared_addresses_and_ssh(gateway: Host) -> None:
    sockets = {line.split()[3] for line in gateway.check_output("ss -Hltn").splitlines()}
    assert {socket for socket in sockets if not socket.endswith(":22")} == {
        "10.207.3.20:443",
        "[fd77:73::20]:443",
        "10.207.2.20:9443",
        "[fd77:72::20]:9443",
    }
    assert gateway.check_output("ss -Hlun") == ""


def test_no_process_of_nginx_is_privileged(gateway: Host) -> None:
    processes = gateway.check_output("ps -C nginx -o user:40=,pid=").splitlines()
    assert len(processes) >= 2 and {line.split()[0] for line in processes} == {USER}
    pid = processes[0].split()[1]
    capabilities = gateway.check_output(f"grep CapBnd /proc/{pid}/status").split()[1]
    assert int(capabilities, 16) == 1 << 10, "CAP_NET_BIND_SERVICE alone"
    assert gateway.check_output(f"grep NoNewPrivs /proc/{pid}/status").split()[1] == "1"


def test_the_service_runs_and_starts_at_boot(gateway: Host) -> None:
    service = gateway.service("hardened-vllm-gateway")
    assert service.is_running and service.is_enabled
    assert not gateway.service("nginx").is_running


@pytest.mark.parametrize("name", ["keys.conf", "authorization.conf", "tls.key"])
def test_files_with_secrets_are_closed(gateway: Host, name: str) -> None:
    file = gateway.file(f"{DIRECTORY}/{name}")
    assert (file.mode, file.user, file.group) == (0o640, "root", USER)


def files_with(gateway: Host, text: str) -> list[str]:
    """Return the files that hold a text, everywhere but in kernel's filesystems."""
    found = gateway.run(f"grep -rlF --exclude-dir=proc --exclude-dir=sys --exclude-dir=dev -- '{text}' / 2>/dev/null")
    return list(found.stdout.splitlines())


def test_tenants_keys_are_on_disk_as_digests_only(gateway: Host, keys: dict[str, str]) -> None:
    text = gateway.file(f"{DIRECTORY}/keys.conf").content_string
    tenants = {name: key for name, key in keys.items() if name != "upstream"}
    for tenant, key in tenants.items():
        assert f"{hashlib.sha256(key.encode()).hexdigest()} {tenant};" in text
        assert files_with(gateway, key) == [], "the key of " + tenant


def test_the_upstream_key_is_in_one_file_and_in_no_command_line(gateway: Host, keys: dict[str, str]) -> None:
    assert files_with(gateway, keys["upstream"]) == [f"{DIRECTORY}/authorization.conf"]
    shown = gateway.run("systemctl show hardened-vllm-gateway; cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ").stdout
    assert "hardened-vllm-gateway" in shown
    assert keys["upstream"] not in shown


def test_the_access_log(gateway: Host, send: Send, keys: dict[str, str]) -> None:
    body = {"messages": "a-marked-prompt"}
    raw = [
        request(MODELS, keys["acme"]),
        chat(keys["acme"], body, "User-Agent: a-marked-agent", "Referer: a-marked-referer"),
        request("GET /v1/models?a-marked-query=1 HTTP/1.1", keys["acme"]),
        request("AMARKEDMETHOD /a-marked-path HTTP/1.1", keys["acme"]),
        request(MODELS, "a-marked-wrong-key-0123"),
        request("GET /a-marked-path?a-marked-query HTTP/1.1"),
        request("GET /%00a-marked-path HTTP/1.1"),
        request(MODELS, keys["acme"], host="a-marked-host"),
    ]
    broken = "Transfer-Encoding: chunked\r\n\r\nzz"
    raw += [
        request(f"POST /a-marked-path?a-marked-query={number} HTTP/1.1", key, broken)
        for number, key in enumerate((None, keys["acme"]))
    ]
    gateway.check_output(f"truncate --size=0 {LOG}")
    answers = send(raw)
    time.sleep(0.2)
    text = gateway.file(LOG).content_string
    lines = {line["request_id"]: line for line in map(json.loads, text.splitlines())}
    models, chatted, query, method, wrong_key, no_key, _unparsed, host = (
        lines.get(answer.header("X-Request-Id") or "", {}) for answer in answers[:8]
    )
    assert (models["tenant"], models["key_id"], models["route"], models["status"]) == ("acme", "k1", "/v1/models", 200)
    assert models["source"] == "10.207.3.30"
    assert models["upstream"] in ("10.207.1.11:8000", "10.207.1.12:8000")
    assert models["upstream_status"] == "200"
    assert (chatted["method"], chatted["route"], chatted["cause"]) == ("POST", "/v1/chat/completions", "")
    assert chatted["bytes_in"] > len(json.dumps(body)) and chatted["bytes_out"] > 0 and chatted["seconds"] >= 0
    assert float(chatted["upstream_first_byte_seconds"]) >= 0
    for line in (query, method):
        assert (line["route"], line["status"], line["cause"]) == ("-", 404, "unknown_route")
    assert method["method"] == "-"
    assert (wrong_key["tenant"], wrong_key["status"], wrong_key["cause"]) == ("", 401, "bad_key")
    assert (no_key["status"], no_key["cause"], host["cause"]) == (401, "no_key", "unknown_host")
    everything = text + gateway.check_output("journalctl --no-pager --output=cat --since=-60")
    assert "marked" not in everything
    for key in keys.values():
        assert key not in everything


def test_rotation_of_the_log_loses_no_line(gateway: Host, send: Send, keys: dict[str, str]) -> None:
    """Whatever is written between a copy and its truncation would be gone."""
    gateway.check_output(f"truncate --size=0 {LOG}; rm -f {LOG}.*")
    rotated = 0
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(send, [request(MODELS, keys["acme"])] * 1000)
        while not under_way.done() and rotated < 10:
            gateway.check_output("sleep 0.1; logrotate --force /etc/logrotate.d/hardened-vllm-gateway")
            rotated += 1
    time.sleep(0.3)
    sizes = [int(size) for size in gateway.check_output(f"for file in {LOG}*; do zcat -f $file | wc -l; done").split()]
    assert rotated >= 3 and len([size for size in sizes if size]) >= 3, "some of it is to be written between rotations"
    lines = gateway.check_output(f"zcat -f {LOG} {LOG}.*").splitlines()
    answered = sorted(answer.header("X-Request-Id") or "" for answer in under_way.result())
    assert sorted(json.loads(line)["request_id"] for line in lines) == answered


def shake_hands(**settings: Any) -> str | None:
    """The protocol agreed on from here with verification, or None when the gateway refuses."""
    context = ssl.create_default_context(cafile=str(LAB / "tls" / "ca.pem"))
    context.set_ciphers(settings.pop("ciphers", "DEFAULT"))
    for name, value in settings.items():
        setattr(context, name, value)
    try:
        with socket.create_connection((EDGE4, 443), timeout=10) as plain:
            return context.wrap_socket(plain, server_hostname=NAME).version()
    except (ssl.SSLError, ConnectionResetError):
        return None


def test_certificate_protocols_and_ciphers() -> None:
    old, new = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    assert shake_hands(minimum_version=new) == "TLSv1.3"
    assert shake_hands(maximum_version=old) == "TLSv1.2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        older = ssl.TLSVersion.TLSv1_1
        assert shake_hands(ciphers="ALL:@SECLEVEL=0", minimum_version=older, maximum_version=older) is None
    for weak in ("AES128-SHA256", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA256"):
        assert shake_hands(ciphers=weak, maximum_version=old) is None, weak
    assert shake_hands(ciphers="ECDHE-ECDSA-AES128-GCM-SHA256", maximum_version=old) == "TLSv1.2"


def test_a_second_run_changes_nothing() -> None:
    run = playbook()
    assert run.returncode == 0, run.stdout
    assert "changed=0" in run.stdout.split("PLAY RECAP")[1]


@pytest.fixture
def still_serving(gateway: Host, send: Send, keys: dict[str, str]) -> Iterator[None]:
    """What lies on disk and what is answered must be the same after the test as before, the master process too."""

    def state() -> str:
        show = "systemctl show -p MainPID,ActiveState hardened-vllm-gateway"
        return str(gateway.check_output(f"sha256sum {DIRECTORY}/*; {show}"))

    before = state()
    yield
    assert state() == before
    assert send([request(MODELS, keys["acme"])])[0].status == 200


@pytest.mark.usefixtures("still_serving")
def test_a_configuration_that_nginx_refuses_leaves_the_old_one_serving() -> None:
    run = playbook("-e", "gateway_worker_processes=none")
    assert run.returncode != 0
    assert '"worker_processes" directive invalid value' in run.stdout
    assert "All files are as they were before." in run.stdout


@pytest.mark.usefixtures("still_serving")
def test_a_configuration_that_only_the_running_nginx_refuses_is_taken_back(gateway: Host) -> None:
    server = "python3 -m http.server --bind 10.207.3.20 8443"
    gateway.run_expect([0], f"systemd-run --quiet --unit=squatter {server}; sleep 1")
    try:
        run = playbook("-e", "gateway_scenario_port=8443")
    finally:
        gateway.run_expect([0], "systemctl stop squatter")
    assert run.returncode != 0
    assert "Address already in use" in run.stdout
    assert "The old state was applied again." in run.stdout


def test_check_mode_shows_a_new_key_and_touches_nothing(gateway: Host, keys: dict[str, str]) -> None:
    before = gateway.check_output(f"sha256sum {DIRECTORY}/*")
    run = playbook("--check", "--diff", "-e", "gateway_scenario_read_timeout=4")
    assert run.returncode == 0, run.stdout
    assert "+proxy_read_timeout 4s;" in run.stdout
    assert gateway.check_output(f"sha256sum {DIRECTORY}/*") == before
    for key in keys.values():
        assert key not in run.stdout


@pytest.mark.usefixtures("still_serving")
def test_a_configuration_with_which_no_request_gets_through_is_taken_back(seen: Seen) -> None:
    run = playbook("-e", "gateway_scenario_engine_port=8001")
    assert run.returncode != 0
    assert "requests got through to an engine before the change, and do not after it: status 502" in run.stdout
    assert "The old state was applied again." in run.stdout
    assert {entry["head"].split("\r\n")[0] for entry in seen()} == {"GET /v1/models HTTP/1.1"}


def test_the_log_goes_to_syslog_too(gateway: Host, send: Send, keys: dict[str, str]) -> None:
    (answer,) = send([request(MODELS, keys["acme"])])
    time.sleep(1)
    told = gateway.check_output("journalctl --identifier=hardened_vllm_gateway --output=cat --lines=50 --no-pager")
    filed = [
        line for line in gateway.file(LOG).content_string.splitlines() if (answer.header("X-Request-Id") or "-") in line
    ]
    assert len(filed) == 1 and filed[0] in told.splitlines()
