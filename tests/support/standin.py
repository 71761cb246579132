# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-ins for a node's services: listens on many ports of every address, IPv4 and IPv6, standard library only.

TCP: greets with the port, then sends back what it gets. UDP: answers with the port.
Usage: standin.py TCP-PORTS UDP-PORTS (``8000,40000-44999``; ``-`` for none). Says ``ready`` when all listen.
"""

from __future__ import annotations

import contextlib
import resource
import selectors
import socket
import sys


def ports(text):
    """Ports of ``22,8000,40000-44999``, in order."""
    found = []
    for part in [] if text == "-" else text.split(","):
        first, _dash, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return found


def listen(kind, port):
    """A socket that takes IPv4 and IPv6 on every address."""
    sock = socket.socket(socket.AF_INET6, kind | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("::", port))
    if kind == socket.SOCK_STREAM:
        sock.listen(128)
    return sock


def serve(selector, key):
    """Deal with one ready socket."""
    sock, role = key.fileobj, key.data
    with contextlib.suppress(BlockingIOError, ConnectionError):
        if role == "tcp":
            connection, _peer = sock.accept()
            connection.setblocking(False)
            connection.send(b"port %d\n" % sock.getsockname()[1])
            selector.register(connection, selectors.EVENT_READ, "connection")
        elif role == "udp":
            _data, peer = sock.recvfrom(2048)
            sock.sendto(b"port %d\n" % sock.getsockname()[1], peer)
        else:
            data = sock.recv(4096)
            if data:
                sock.send(data)
                return
            selector.unregister(sock)
            sock.close()
        return
    if role == "connection":
        selector.unregister(sock)
        sock.close()


def main():
    """Listen until the end."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    selector = selectors.DefaultSelector()
    for role, kind, text in (("tcp", socket.SOCK_STREAM, sys.argv[1]), ("udp", socket.SOCK_DGRAM, sys.argv[2])):
        for port in ports(text):
            selector.register(listen(kind, port), selectors.EVENT_READ, role)
    print("ready", flush=True)
    while True:
        for key, _mask in selector.select():
            serve(selector, key)


if __name__ == "__main__":
    main()
