# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hub of models over https, as far as one is asked: python3 standin_hub.py FOLDER REPOSITORY REVISION CERTIFICATE KEY PORT [STORE [TOKEN]].

Serves the files of FOLDER as one revision. Weights are large files, which STORE (``https://host:port``) gives when there is one.
``Hub.spoil`` takes a function for each odd answer a test wants; requests are kept in ``Hub.asked``.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import ssl
import sys
import threading
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Hub(http.server.ThreadingHTTPServer):
    """A hub with one revision of one repository; ``files`` maps names to contents."""

    daemon_threads = True

    def __init__(
        self, address: tuple[str, int], pair: tuple[str, str], repository: str = "", revision: str = ""
    ) -> None:
        super().__init__(address, Handler)
        self.repository, self.revision, self.store, self.token = repository, revision, "", ""
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None, str | None]] = []
        self.listing: Callable[[dict[str, Any]], Any] = lambda told: told
        self.spoil: dict[str, Callable[[Handler, bytes], bool]] = {}
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        # The handshake belongs to the thread of the request, not to the one that accepts.
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.server_address[1]}"

    def start(self) -> Hub:
        """Serve in a thread of its own."""
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def told(self) -> Any:
        """Return the answer of the API, as ``listing`` changes it."""
        siblings = [entry(name, content) for name, content in self.files.items()]
        return self.listing({"id": self.repository, "sha": self.revision, "siblings": siblings})


def entry(name: str, content: bytes) -> dict[str, Any]:
    """Return what the API says of a file."""
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    told: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": blob}
    if name.endswith((".safetensors", ".bin")):
        told["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return told


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers the two questions that are asked of a hub."""

    server: Hub

    def do_GET(self) -> None:
        hub = self.server
        hub.asked.append((self.path, self.headers.get("Authorization"), self.headers.get("Range")))
        path = urllib.parse.unquote(self.path)
        name = path.rpartition("/resolve/" + hub.revision + "/")[2]
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            self.send_error(401)
        elif path == f"/api/models/{hub.repository}/revision/{hub.revision}?blobs=true":
            self.answer(json.dumps(hub.told()).encode())
        elif name not in hub.files:
            self.send_error(404)
        elif name in hub.spoil and hub.spoil[name](self, hub.files[name]):
            return
        elif hub.store and name.endswith(".safetensors"):
            self.redirect(hub.store + self.path)
        else:
            self.answer(hub.files[name])

    def redirect(self, target: str, status: int = 302) -> None:
        """Send elsewhere."""
        self.send_response(status)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(self, content: bytes, length: int | None = None) -> None:
        """Give ``content``, or its end when a range is asked for; ``length`` is said instead of the true one."""
        begin = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        first = int(begin[1]) if begin else 0
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - first if length is None else length))
        self.end_headers()
        self.wfile.write(content[first:])

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def main() -> None:
    """Serve a folder until the end."""
    folder, repository, revision, certificate, key, port, *more = sys.argv[1:]
    hub = Hub(("0.0.0.0", int(port)), (certificate, key), repository, revision)
    hub.store, hub.token = [*more, "", ""][:2]
    hub.files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    hub.serve_forever()


if __name__ == "__main__":
    main()
