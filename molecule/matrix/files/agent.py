# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's part in the tests of reachability: listens on many ports, loads rules, and asks many others at once.

One process a node for a whole run: each line of standard input is a command in JSON, each line of the answer its result.
Standard library only.

``{"listen": {"tcp": [ports], "udp": [ports]}}`` takes the place of the former listeners; of every address, IPv4 and IPv6.
``{"rules": text}`` gives a text to nft and lets the kernel forget its connections.
``{"probe": [[protocol, address, port, awaited]], "udp_from": first source port or null}`` returns a state for each: ``open``,
``refused``, ``no route`` or ``silent``. It ends a second after the questions, or later when an awaited answer has not come.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import select
import selectors
import socket
import struct
import subprocess
import sys
import threading
import time

SILENCE, PATIENCE, AGAIN = 1.0, 8.0, 0.4
NETFILTER, DELETE_CONNECTIONS, ACKNOWLEDGED_REQUEST = 12, 0x0102, 0x5
STATES = {errno.ENETUNREACH: "no route", errno.EHOSTUNREACH: "no route"}


def listen(kind, port):
    """Return a socket that takes IPv4 and IPv6 on every address."""
    sock = socket.socket(socket.AF_INET6, kind | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("::", port))
        if kind == socket.SOCK_STREAM:
            sock.listen(1024)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"port {port}: {error.strerror}") from error
    return sock


class Listeners:
    """Stand-ins for the services of a node."""

    def __init__(self, ports):
        self.selector = selectors.DefaultSelector()
        self.stop, end = socket.socketpair()
        self.selector.register(end, selectors.EVENT_READ, "end")
        for protocol, kind in (("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)):
            for port in ports[protocol]:
                self.selector.register(listen(kind, port), selectors.EVENT_READ, protocol)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        """Accept and answer until the end."""
        while True:
            for key, _mask in self.selector.select():
                if key.data == "end":
                    return
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    if key.data == "tcp":
                        key.fileobj.accept()[0].close()
                    else:
                        data, peer = key.fileobj.recvfrom(100)
                        key.fileobj.sendto(data, peer)

    def close(self):
        """Listen no longer."""
        self.stop.send(b"x")
        self.thread.join()
        self.stop.close()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()


def ask(protocol, address, port, source):
    """Return a socket that waits for the answer, or what came of the question at once."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    try:
        if protocol == "udp" and source is not None:
            sock.bind(("", source))
        sock.connect((address, port))
        if protocol == "udp":
            sock.send(b"?")
    except BlockingIOError:
        return sock
    except OSError as error:
        sock.close()
        return STATES.get(error.errno, "refused")
    return sock


def outcome(protocol, sock):
    """Return the state that a ready socket tells."""
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code == 0 and protocol == "udp":
        try:
            sock.recv(100)
        except OSError as error:
            code = error.errno
    return "open" if code == 0 else STATES.get(code, "refused")


def probe(targets, udp_from):
    """Return the state of each target."""
    states = ["silent"] * len(targets)
    poll, waiting = select.epoll(), {}
    for number, (protocol, address, port, _awaited) in enumerate(targets):
        found = ask(protocol, address, port, None if udp_from is None else udp_from + number)
        if isinstance(found, str):
            states[number] = found
            continue
        waiting[found.fileno()] = (number, found)
        poll.register(found, select.EPOLLOUT if protocol == "tcp" else select.EPOLLIN)
    start = asked = time.monotonic()
    awaited = sum(targets[number][3] for number, _sock in waiting.values())
    while waiting:
        now = time.monotonic()
        if now - start > (PATIENCE if awaited else SILENCE):
            break
        if now - asked > AGAIN:
            asked = now
            for number, sock in waiting.values():
                if targets[number][0] == "udp":
                    # What it tells is read from the socket below.
                    with contextlib.suppress(OSError):
                        sock.send(b"?")
        for descriptor, _event in poll.poll(0.05):
            number, sock = waiting.pop(descriptor)
            poll.unregister(descriptor)
            states[number] = outcome(targets[number][0], sock)
            awaited -= targets[number][3]
            sock.close()
    for _number, sock in waiting.values():
        sock.close()
    poll.close()
    return states


def forget_connections():
    """Empty the node's table of connections: those that other rules let in would pass as established."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER) as netlink:
        netlink.bind((0, 0))
        # nlmsghdr and nfgenmsg (linux/netlink.h, linux/netfilter/nfnetlink.h): delete, without saying which; acknowledge.
        netlink.send(struct.pack("=IHHIIBBH", 20, DELETE_CONNECTIONS, ACKNOWLEDGED_REQUEST, 1, 0, 0, 0, 0))
        (error,) = struct.unpack_from("=i", netlink.recv(4096), 16)
    if error:
        raise OSError(-error, os.strerror(-error))


def main():
    """Obey until the end of standard input."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    listeners = None
    for line in sys.stdin:
        command = json.loads(line)
        result = {}
        try:
            if "listen" in command:
                if listeners is not None:
                    listeners.close()
                listeners = None
                listeners = Listeners(command["listen"])
            if "rules" in command:
                subprocess.run(["nft", "-f", "-"], input=command["rules"], text=True, capture_output=True, check=True)
                forget_connections()
            if "probe" in command:
                result["states"] = probe(command["probe"], command.get("udp_from"))
        except subprocess.CalledProcessError as error:
            result["error"] = error.stderr
        except OSError as error:
            result["error"] = str(error)
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
