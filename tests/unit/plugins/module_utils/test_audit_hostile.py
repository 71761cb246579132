# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers and files of somebody who means it: they neither hold the audit up, nor end it for others, nor make it tell what they may not read."""

from __future__ import annotations

import datetime
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import audit_force, audit_http, audit_tls, probe_common
from ansible_collections.hardened.vllm.plugins.module_utils.audit_processes import Process
from ansible_collections.hardened.vllm.plugins.modules import audit_host, audit_routes
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, ObjectIdentifier

SECONDS = 30
ANSWERS = {
    "nested": b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 200_000,
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nx",
    "header": b"HTTP/1.1 200 OK\r\nServer: " + b"\x1b" * 900_000 + b"\r\n\r\nx",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 170_000,
    "negative": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"-2\r\n" * 250_000,
    "silence": b"",
}


class Good(BaseHTTPRequestHandler):
    """Answers everything with an error of vLLM's."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.end_headers()
        self.wfile.write(b'{"detail": "Not Found"}')

    def log_message(self, *_words: Any) -> None:
        """Be silent."""


@pytest.fixture
def good() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Good) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def says(request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of a server that sends one of ANSWERS to whoever connects."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _far = server.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection: socket.socket) -> None:
            with connection:
                try:
                    connection.sendall(ANSWERS[request.param])
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass
                    if request.param == "silence":
                        time.sleep(60)
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def asked(ports: dict[str, list[int]], requests: int = 3, **changed: Any) -> dict[str, Any]:
    """Return what audit_routes says of the hosts' ports."""
    request = {"method": "GET", "path": "/x", "target": "/x", "form": "plain", "key": "none"}
    endpoints = [
        {"host": host, "address": "127.0.0.1", "port": port, "tls": "no", "server_name": "", "ask": ["all"]}
        for host, some in ports.items()
        for port in some
    ]
    params = {
        "observer": "o",
        "standing": "observer",
        "endpoints": endpoints,
        "requests": {"all": [request] * requests},
    }
    limits = {"keys": {}, "authority": "", "at_once": 4, "rate": 1000, "timeout": 2, "limit": 60}
    return audit_routes.collect({**params, **limits, **changed})


@pytest.mark.parametrize("says", ["nested", "length", "header", "chunks", "negative"], indirect=True)
def test_an_answer_ends_nothing_for_others_and_costs_little(says: int, good: int) -> None:
    begun = time.monotonic()
    found = asked({"bad": [says], "good": [good]})
    assert time.monotonic() - begun < SECONDS
    assert [one["body"] for one in found["answers"] if one["host"] == "good"] == ["detail"] * 3
    assert len([one for one in found["answers"] if one["host"] == "bad"]) == 3
    assert len(json.dumps(found)) < 20_000


class Clock:
    """Stands for the module ``time``: as late as those who were waited for have made it, however busy this machine is."""

    time = staticmethod(time.time)

    def __init__(self) -> None:
        self.late = 0.0
        self.lock = threading.Lock()

    def monotonic(self) -> float:
        return self.late

    def wait(self, seconds: float) -> None:
        with self.lock:
            self.late += seconds


def test_who_never_answers_takes_turns_with_who_does(good: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a server that was not asked everything no answer is told: a part of them would pass for the whole."""
    clock, at_once = Clock(), 4

    def slow(endpoint: dict[str, Any], *_rest: Any) -> dict[str, Any]:
        if endpoint["host"] == "bad":
            clock.wait(0.2 / at_once)
        return {"status": 404, "headers": {}, "body": "detail", "bytes": 1, "error": None, "seconds": 0.0}

    monkeypatch.setattr(audit_http, "ask", slow)
    monkeypatch.setattr(audit_routes, "time", clock)
    ports = list(range(1, 61))
    # Looking takes 60 * 0.2 / 4 seconds, asking three times that.
    found = asked({"bad": ports, "good": [good]}, limit=6, at_once=at_once)
    assert len([one for one in found["answers"] if one["host"] == "good"]) == 3
    told = [one["port"] for one in found["answers"] if one["host"] == "bad"]
    late = {one["fact"] for one in found["unknown"] if one["reason"] == "the time for asking was over"}
    assert late == {f"answers:127.0.0.1:{port}" for port in ports if port not in told}
    assert late
    assert {told.count(port) for port in told} <= {3}


def certificate(names: bytes) -> bytes:
    """Return a certificate (DER) whose alternative names are these bytes."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    now = datetime.datetime(2026, 1, 1)
    odd = x509.UnrecognizedExtension(ObjectIdentifier("2.5.29.17"), names)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=9999))
    made = builder.add_extension(odd, critical=False).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize("names", [b"", b"\x30", b"\x30\x84\xff\xff\xff\xff", b"\x30\x02\x82\x7f"])
def test_a_certificate_that_ends_too_early_is_none(names: bytes) -> None:
    with pytest.raises(ValueError, match="certificate"):
        audit_tls.certificate(certificate(names))


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(probe_common.Unknown, match="no regular file"):
            probe_common.read_text(str(path))


def test_what_takes_too_long_is_not_known_and_the_rest_is() -> None:
    gather = probe_common.Timed(0.2)
    gather.add("hangs", time.sleep, 60)
    assert gather.add("works", lambda: 5) == 5
    gather.add("fails", lambda: int("x"))
    assert gather.facts == {"hangs": None, "works": 5, "fails": None}
    assert [one["fact"] for one in gather.unknown] == ["hangs", "fails"]
    assert gather.unknown[0]["reason"].startswith("it took longer than")


def proxy(uid: int, words: str, groups: str = "") -> Process:
    status = {"Gid": f"{uid}\t{uid}\t{uid}\t{uid}", "Groups": groups}
    return Process(1, 0, "nginx", [words], 0.0, uid, None, None, None, None, status)


def test_a_process_that_calls_itself_nginx_has_only_that_told_which_it_may_read(tmp_path: Path) -> None:
    """The module is root, and any user may start a process of this name that names a file of root's."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1/root").symlink_to("/")
    shadow, own = tmp_path / "shadow", tmp_path / "own.conf"
    for path in (shadow, own):
        path.write_text("listen 80;\n")
        path.chmod(0o640)
    link = tmp_path / "link.conf"
    link.symlink_to(shadow)
    os.chown(own, 0, 4321)

    def told(process: Process, path: Path) -> list[str]:
        unknown: list[dict[str, str]] = []
        named = Process(**{**vars(process), "words": [f"nginx: master process nginx -c {path}"]})
        found = audit_force.proxies(str(tmp_path), [named], unknown)
        return [one["path"] for one in found if one["path"] == str(path)]

    assert told(proxy(1234, ""), link) == []
    assert told(proxy(1234, ""), shadow) == []
    assert told(proxy(0, ""), link) == [str(link)]
    assert told(proxy(1234, "", "7 4321"), own) == [str(own)]
    assert told(proxy(1234, ""), own) == []


def test_names_that_are_no_text_do_not_hide_the_host() -> None:
    """The service may make such a file in its own cache, and Ansible refuses what is no UTF-8."""
    told = audit_host.in_unicode({"files": [os.fsdecode(b"/var/cache/vllm/\xff\n")], "\udcff": 1, "n": None, "f": 1.5})
    json.dumps(told, ensure_ascii=False).encode()
    assert told == {"files": ["/var/cache/vllm/\\udcff\n"], "\\udcff": 1, "n": None, "f": 1.5}


def test_a_host_with_such_a_name_is_told(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).touch()
    found = audit_host.collect({"paths": [str(tmp_path)], "trees": [], "sysctl": [], "packages": []})
    json.dumps(found, ensure_ascii=False).encode()
    assert [one["path"] for one in found["files"] if one["path"].endswith("\\udcff")] == [f"{tmp_path}/\\udcff"]


def test_a_setting_of_this_kernel_is_read() -> None:
    """Its files give nothing to who asks for a lot at once."""
    unknown: list[dict[str, str]] = []
    found = audit_force.sysctls("/", ["net.ipv4.ip_local_port_range", "net.no.such"], unknown)
    assert unknown == []
    assert len(str(found["net.ipv4.ip_local_port_range"]).split()) == 2
    assert found["net.no.such"] is None
