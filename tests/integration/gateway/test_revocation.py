# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client's certificate that is revoked, or whose subject is taken out: no way leads past it, no earlier one either."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import proxies
import pytest

from .conftest import Door, Program, Recorder

CONFIGURATION = """\
[ca]
default_ca = own
[own]
database = index
serial = serial
new_certs_dir = .
certificate = authority.pem
private_key = authority.key
default_md = sha256
default_days = 2
default_crl_days = 2
policy = any
unique_subject = no
[any]
commonName = supplied
"""


class Authority:
    """Who signs clients' certificates, and keeps a list of those it revoked."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        (directory / "configuration").write_text(CONFIGURATION)
        (directory / "index").touch()
        (directory / "serial").write_text("01\n")
        self._key("authority", "-x509", "-days", "2")

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.directory, check=True, capture_output=True)

    def _key(self, name: str, *more: str) -> None:
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        subject = ["-subj", "/CN=authority" if more else "/CN=proved"]
        self._openssl("req", *more, *curve, *subject, "-keyout", f"{name}.key", "-out", f"{name}.pem")

    def certificate(self, name: str) -> Path:
        """Make a certificate of the one subject."""
        self._key(name)
        self._openssl(
            "ca", "-batch", "-config", "configuration", "-in", f"{name}.pem", "-out", f"{name}.pem", "-notext"
        )
        return self.directory / name

    def revoked(self, *names: str) -> Path:
        """Revoke certificates, and return the list of all that are."""
        for name in names:
            self._openssl("ca", "-config", "configuration", "-revoke", f"{name}.pem")
        self._openssl("ca", "-config", "configuration", "-gencrl", "-out", "revoked.pem")
        return self.directory / "revoked.pem"


class Client:
    """One that shows a certificate, and keeps its TLS session and its connection."""

    def __init__(self, port: int, certificate: Path, version: ssl.TLSVersion) -> None:
        self.port = port
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.context.minimum_version = self.context.maximum_version = version
        self.context.load_cert_chain(f"{certificate}.pem", f"{certificate}.key")
        self.kept = self.connect()

    def connect(self, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        return self.context.wrap_socket(plain, server_hostname="localhost", session=session)

    def ask(self, connection: ssl.SSLSocket) -> int | None:
        """Return the status, None when the connection is at an end."""
        text = f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {proxies.KEY}\r\n\r\n"
        try:
            connection.sendall(text.encode())
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            answer.read()
        except (OSError, http.client.HTTPException):
            return None
        return answer.status


class Gateway:
    """A running gateway whose declaration changes."""

    def __init__(self, program: Program, directory: Path, authority: Authority, upstream: int) -> None:
        self.program, self.directory, self.authority, self.upstream = program, directory, authority, upstream
        self.port = proxies.free_port()
        directory.mkdir()
        (directory / "clients.pem").write_bytes((authority.directory / "authority.pem").read_bytes())

    def part(self, subject: str = "CN=proved", revocations: Path | None = None) -> dict[str, Any]:
        tls = {"certificate": "/c", "key": "/k", "client_authority": str(self.authority.directory / "authority.pem")}
        if revocations is not None:
            (self.directory / "clients-revoked.pem").write_bytes(revocations.read_bytes())
            tls["client_revocations"] = str(revocations)
        return proxies.gateway_part(self.port, self.upstream, last={"certificate": subject}, tls=tls)

    def change(self, door: Door, part: dict[str, Any], one_cache: bool = False) -> None:
        """Reload another declaration, and wait until nobody serves the old one."""
        main = self.directory / "nginx.conf"
        cache = next(line for line in main.read_text().splitlines() if "ssl_session_cache" in line)
        proxies.write_gateway(self.program, self.directory, part)
        if one_cache:
            lines = main.read_text().splitlines()
            main.write_text("\n".join(cache if "ssl_session_cache" in line else line for line in lines))
        old = set(door.proxy.processes()) - {door.proxy.pid}
        os.kill(door.proxy.pid, signal.SIGHUP)
        deadline = time.monotonic() + 20
        while old & set(door.proxy.processes()):
            assert time.monotonic() < deadline, "old workers did not end"
            time.sleep(0.05)


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
@pytest.mark.parametrize("how", ["revoked", "revoked, one cache for both", "subject taken out"])
def test_who_was_let_in_before_is_not_let_in_again(
    nginx: Program, tmp_path: Path, recorder: Recorder, how: str, version: ssl.TLSVersion
) -> None:
    authority = Authority(tmp_path / "authority")
    first, second = authority.certificate("first"), authority.certificate("second")
    gateway = Gateway(nginx, tmp_path / "gateway", authority, recorder.port)
    with proxies.gateway(nginx, gateway.directory, gateway.part(revocations=authority.revoked())) as proxy:
        door = Door(proxy, gateway.directory)
        client = Client(gateway.port, first, version)
        assert client.ask(client.kept) == 200
        session = client.kept.session
        again = client.connect(session)
        assert (again.session_reused, client.ask(again)) == (True, 200)

        if how == "subject taken out":
            gateway.change(door, gateway.part("CN=somebody-else", authority.revoked()))
        else:
            gateway.change(door, gateway.part(revocations=authority.revoked("first")), one_cache="one cache" in how)
        assert client.ask(client.kept) is None, "nothing more over the old connection"
        resumed = client.connect(session)
        if "one cache" in how:
            assert (resumed.session_reused, client.ask(resumed)) == (True, 200), (
                "the attack, as nginx alone lets it through"
            )
        else:
            assert client.ask(resumed) in (400, 401)
        assert client.ask(client.connect()) in (400, 401)
        other = Client(gateway.port, second, version)
        assert other.ask(other.kept) == (401 if how == "subject taken out" else 200), (
            "of the same subject, and not revoked"
        )
