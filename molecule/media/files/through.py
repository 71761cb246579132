# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends requests to a proxy as they are and prints the answers as JSON, one text each.

Usage: through.py ADDRESS PORT < JSON, a list of [request, what to send when the answer is 200 or null]
"""

from __future__ import annotations

import json
import socket
import sys


def exchange(address, port, request, then):
    """Return what came back, the name of an error when there was no answer."""
    received = b""
    try:
        with socket.create_connection((address, port), timeout=4) as stream:
            stream.settimeout(20)
            stream.sendall(request.encode("latin-1"))
            if then is not None:
                while b"\r\n\r\n" not in received:
                    part = stream.recv(65536)
                    if not part:
                        return received.decode("latin-1")
                    received += part
                if b" 200 " not in received.split(b"\r\n")[0]:
                    return received.decode("latin-1")
                stream.sendall(then.encode("latin-1"))
            while True:
                part = stream.recv(65536)
                if not part:
                    break
                received += part
    except OSError as error:
        return received.decode("latin-1") or type(error).__name__
    return received.decode("latin-1")


print(json.dumps([exchange(sys.argv[1], int(sys.argv[2]), *pair) for pair in json.load(sys.stdin)]))
