# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry of container images over https: python3 standin_registry.py LAYOUT CERTIFICATE KEY PORT [USER:PASSWORD].

Serves every manifest and blob of an OCI layout (``blobs/sha256``) by digest, under whatever name, and no tag.
"""

from __future__ import annotations

import base64
import http.server
import json
import re
import shutil
import ssl
import sys
from pathlib import Path

_PATH = re.compile(r"/v2/[a-z0-9/._-]+/(manifests|blobs)/sha256:([0-9a-f]{64})")


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers what podman asks when it pulls by digest."""

    protocol_version = "HTTP/1.1"
    layout = Path()
    wanted: str | None = None

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        if self.wanted and self.headers.get("Authorization") != self.wanted:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="registry"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        match = _PATH.fullmatch(self.path)
        place = self.layout / "blobs" / "sha256" / match[2] if match else None
        if self.path != "/v2/" and (place is None or not place.is_file()):
            self.send_error(404)
            return
        kind, size = "application/octet-stream", 2 if place is None else place.stat().st_size
        if match and match[1] == "manifests" and place is not None:
            kind = json.loads(place.read_text())["mediaType"]
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        if body and place is None:
            self.wfile.write(b"{}")
        elif body and place is not None:
            with place.open("rb") as file:
                shutil.copyfileobj(file, self.wfile, 1 << 20)


def main() -> None:
    layout, certificate, key, port, *account = sys.argv[1:]
    Handler.layout = Path(layout)
    Handler.wanted = "Basic " + base64.b64encode(account[0].encode()).decode() if account else None
    server = http.server.ThreadingHTTPServer(("", int(port)), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
