# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bounded port scanner for lab nodes: honest TCP connects and UDP questions, standard library only.

Runs on any node (``python3 - ARGUMENTS < portscan.py``) and prints one JSON object: address -> list of open ports.
A TCP port is open when the connect succeeds, a UDP port when the question is answered.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import resource
import select
import socket
import time

IN_PROGRESS = (errno.EINPROGRESS, errno.EAGAIN)
QUESTION = b"who is there?"


def ports(text):
    """Ports of ``22,8000,40000-44999``, in order."""
    found = []
    for part in text.split(","):
        first, _dash, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return found


def _family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _source(scan, address):
    for source in scan.source:
        if _family(source) == _family(address):
            return source
    return None


def tcp_batch(targets, scan):
    """The (address, port) pairs of ``targets`` that accept a connection within the time limit."""
    poll = select.epoll()
    waiting = {}
    found = []
    for address, port in targets:
        sock = socket.socket(_family(address), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        source = _source(scan, address)
        if source:
            sock.bind((source, 0))
        code = sock.connect_ex((address, port))
        if code == 0:
            found.append((address, port))
            sock.close()
        elif code in IN_PROGRESS:
            waiting[sock.fileno()] = (sock, address, port)
            poll.register(sock, select.EPOLLOUT)
        else:
            sock.close()
    deadline = time.monotonic() + scan.timeout
    while waiting and time.monotonic() < deadline:
        for number, _event in poll.poll(max(0.0, deadline - time.monotonic())):
            sock, address, port = waiting.pop(number)
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                found.append((address, port))
            poll.unregister(number)
            sock.close()
    for sock, _address, _port in waiting.values():
        sock.close()
    poll.close()
    return found


def udp_batch(targets, scan):
    """The (address, port) pairs of ``targets`` that answer a datagram within the time limit."""
    found = []
    sockets = {}
    for address, port in targets:
        family = _family(address)
        if family not in sockets:
            sockets[family] = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            source = _source(scan, address)
            if source:
                sockets[family].bind((source, 0))
        with contextlib.suppress(ConnectionRefusedError):
            sockets[family].sendto(QUESTION, (address, port))
    deadline = time.monotonic() + scan.timeout
    while time.monotonic() < deadline:
        readable, _writable, _failed = select.select(
            list(sockets.values()), [], [], max(0.0, deadline - time.monotonic())
        )
        for sock in readable:
            with contextlib.suppress(ConnectionRefusedError, BlockingIOError):
                _data, peer = sock.recvfrom(2048)
                found.append((peer[0].split("%")[0], peer[1]))
    for sock in sockets.values():
        sock.close()
    return found


def main():
    """Scan what the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("addresses", nargs="+")
    parser.add_argument("--ports", required=True)
    parser.add_argument("--udp", action="store_true")
    parser.add_argument("--source", action="append", default=[], help="own address to send from, one a family")
    parser.add_argument(
        "--timeout", type=float, default=2.5, help="seconds for each batch; the first SYN is repeated after one"
    )
    scan = parser.parse_args()
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    size = 500 if scan.udp else min(hard - 50, 16000)
    # Every address takes its turn, so that no single node sees a whole batch at once.
    targets = [(address, port) for port in ports(scan.ports) for address in scan.addresses]
    result = {address: [] for address in scan.addresses}
    for start in range(0, len(targets), size):
        batch = targets[start : start + size]
        for address, port in udp_batch(batch, scan) if scan.udp else tcp_batch(batch, scan):
            result[address].append(port)
    print(json.dumps({address: sorted(result[address]) for address in result}))


if __name__ == "__main__":
    main()
