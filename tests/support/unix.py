# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An HTTP server on a unix socket, for what stands for vLLM in tests."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Server(ThreadingHTTPServer):
    """``taken`` are the connections it has accepted."""

    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        self.taken: list[socket.socket] = []
        self.socket.bind(self.server_address)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        self.taken.append(self.socket.accept()[0])
        return self.taken[-1], ("here", 0)


@contextmanager
def serving(path: Path, handler: type[BaseHTTPRequestHandler]) -> Iterator[Server]:
    """Serve at ``path``, which stays when it is over, as vLLM's does."""
    server = Server(str(path), handler)  # type: ignore[arg-type]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
