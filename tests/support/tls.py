# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates by the collection's own authorities, and servers that show them."""

from __future__ import annotations

import datetime
import ssl
from http.server import HTTPServer
from pathlib import Path

from ansible_collections.hardened.vllm.plugins.module_utils.certificates import Certificate


def made(directory: Path, owner: str, name: str, purpose: str = "server") -> tuple[Path, Path]:
    """Make an authority and a certificate by it; return the authority and a file of the certificate with its key."""
    files = {"certificate": "crt", "key": "key", "authority": "authority.pem", "authority_key": "authority.key"}
    paths = {option: str(directory / f"{owner}.{end}") for option, end in files.items()}
    wanted = Certificate({**paths, "names": [name], "purpose": purpose, "lifetime_days": 10})
    wanted.make(wanted.missing(datetime.datetime.now(datetime.UTC)))
    pair = directory / f"{owner}.pem"
    pair.write_text(Path(paths["key"]).read_text() + Path(paths["certificate"]).read_text())
    return Path(paths["authority"]), pair


def serve(server: HTTPServer, pair: Path, clients: Path | None = None) -> None:
    """Have ``server`` speak TLS as vLLM does; with ``clients`` to holders of a certificate of that authority only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    if clients is not None:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_REQUIRED
    # The handshake is the handler's thread's business.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
