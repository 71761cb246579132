# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The world: web servers on every address of this node, and the name server of example.org, whose answers may change.

Every request is noted as a line of JSON: the address it came to, the request line and the headers.
Usage: world.py RECORD [PUBLIC IPv4 ADDRESS, PUBLIC IPv6 ADDRESS]
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import struct
import sys
import threading
import time
import zlib
from pathlib import Path

PUBLIC, PUBLIC6 = sys.argv[2:4] if len(sys.argv) > 2 else ("198.51.100.50", "2001:db8:113::50")
METADATA, METADATA6 = "169.254.169.254", "fd00:ec2::254"
NAMES = {
    "images": [PUBLIC, PUBLIC6],
    "six": [PUBLIC6],
    "metadata": [METADATA],
    "metadata6": [METADATA6],
    "private": ["192.168.77.1"],
    "shared": ["100.100.100.200"],
    "unique-local": ["fd12::1"],
    "link-local": ["fe80::1"],
    "loopback": ["127.0.0.1"],
    "loopback6": ["::1"],
    "mapped": ["::ffff:169.254.169.254"],
    "nat64": ["64:ff9b::a9fe:a9fe"],
    "sixtofour": ["2002:a9fe:a9fe::1"],
    "mixed": [PUBLIC, METADATA],
    "mixed6": [PUBLIC6, METADATA6],
    "engine": ["10.224.1.11"],
    "engine6": ["fd77:681::11"],
    "door": ["198.51.100.20"],
    "other": [PUBLIC, PUBLIC6],
    "nobody": [],
}


def picture(side):
    """Return a grey PNG of so many pixels by as many."""
    rows = zlib.compress((b"\0" + b"\x80" * 3 * side) * side)
    chunks = ((b"IHDR", struct.pack("!IIBBBBB", side, side, 8, 2, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b""))
    parts = (
        struct.pack("!I", len(body)) + kind + body + struct.pack("!I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


PICTURE = picture(56)
TURNS: dict[str, int] = {}
LOCK = threading.Lock()


def addresses(name):
    """Return the addresses of a name now; None is a failure of the server. Every answer may be kept for no time at all."""
    first, _dot, rest = name.partition(".")
    if first == "sub":
        return [PUBLIC]
    if rest != "example.org":
        return [PUBLIC] if rest.endswith("evil.example.net") or name == "images.example.org.evil.test" else []
    with LOCK:
        turn = TURNS[first] = TURNS.get(first, -1) + 1
    if first == "changes":
        return [PUBLIC] if turn // 2 % 2 == 0 else [METADATA]
    if first == "fails-first":
        return None if turn < 2 else [METADATA]
    return NAMES.get(first, [])


def answer(query):
    """Return the answer to one query for A or AAAA records."""
    labels, place = [], 12
    while query[place]:
        labels.append(query[place + 1 : place + 1 + query[place]].decode())
        place += query[place] + 1
    kind = struct.unpack("!H", query[place + 1 : place + 3])[0]
    question = query[12 : place + 5]
    found = addresses(".".join(labels).lower())
    if found is None:
        return query[:2] + struct.pack("!HHHHH", 0x8182, 1, 0, 0, 0) + question
    wanted = {1: 4, 28: 6}.get(kind)
    parsed = [ipaddress.ip_address(text) for text in found]
    packed = [address.packed for address in parsed if address.version == wanted]
    records = b"".join(struct.pack("!HHHIH", 0xC00C, kind, 1, 0, len(data)) + data for data in packed)
    return query[:2] + struct.pack("!HHHHH", 0x8180, 1, len(packed), 0, 0) + question + records


def name_server():
    """Answer every query for ever."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((PUBLIC, 53))
    while True:
        query, peer = server.recvfrom(1500)
        server.sendto(answer(query), peer)


def serve(stream, record):
    """Answer one connection; the path says how."""
    with stream:
        stream.settimeout(20)
        data = b""
        while b"\r\n\r\n" not in data:
            part = stream.recv(4096)
            if not part:
                break
            data += part
        here = stream.getsockname()[0].removeprefix("::ffff:")
        line, *headers = data.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
        record.write(json.dumps({"address": here, "line": line, "headers": headers}) + "\n")
        record.flush()
        path = line.split(" ")[1] if line.count(" ") == 2 else "/"
        if path.startswith("/picture"):
            answer = (
                b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n" % len(PICTURE) + PICTURE
            )
        elif path == "/redirect":
            answer = f"HTTP/1.1 302 Found\r\nLocation: http://{METADATA}/secret\r\nContent-Length: 0\r\n\r\n".encode()
        elif path == "/large":
            # A picture all the same: no decoder reads what follows its end.
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + PICTURE.ljust(2000000, b"x")
        elif path == "/endless":
            stream.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            for _ in range(100):
                time.sleep(0.2)
                stream.sendall(b"x")
            return
        else:
            answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nan image\n"
        stream.sendall(answer)


def quietly(stream, record):
    """Answer one connection, whose other end may go away."""
    with contextlib.suppress(OSError):
        serve(stream, record)


def web_server(port, record):
    """Answer every connection to a port for ever."""
    server = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        threading.Thread(target=quietly, args=(server.accept()[0], record), daemon=True).start()


def main():
    """Start everything."""
    with Path(sys.argv[1]).open("a", encoding="utf-8") as record:
        for port in (80, 443, 8080):
            threading.Thread(target=web_server, args=(port, record), daemon=True).start()
        name_server()


if __name__ == "__main__":
    main()
