# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An asynchronous scan of many ports of many addresses with honest connections: no raw sockets, no privileges.

A TCP port is ``open`` when the connection is made, ``refused`` when the host or a firewall on the way says no, ``filtered``
when nobody answers. A UDP port is ``open`` when it answers the question, ``refused`` when an ICMP message says so, else ``filtered``.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import resource
import select
import socket
import time
from typing import Any, Deque, Dict, Iterable, Iterator, List, Optional, Tuple

# Answers of the far end, or of a firewall on its behalf.
REFUSALS = {
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EACCES,
    errno.EPERM,
    errno.EPROTO,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
}
WAITING = {errno.EINPROGRESS, errno.EAGAIN, errno.EALREADY}
# This host's own want of ports or descriptors: the attempt is made again later.
SHORTAGES = {errno.EADDRNOTAVAIL, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
NO_ROUTE = {errno.ENETUNREACH, errno.EAFNOSUPPORT, errno.EINVAL}

Target = Tuple[str, int]


def ports_of(text: str) -> List[int]:
    """Return the ports of ``22,8000,40000-44999`` in order, each once. Raises ValueError for what is none."""
    found: Dict[int, None] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, dash, last = part.partition("-")
        low, high = int(first), int(last if dash else first)
        if not 1 <= low <= high <= 65535:
            raise ValueError("found %r, expected ports such as 22,8000,40000-44999" % part)
        found.update(dict.fromkeys(range(low, high + 1)))
    return sorted(found)


def ranges(ports: Iterable[int]) -> str:
    """Return ports as text: ``1-21,23``."""
    parts: List[List[int]] = []
    for port in sorted(ports):
        if parts and port == parts[-1][1] + 1:
            parts[-1][1] = port
        else:
            parts.append([port, port])
    return ",".join(str(low) if low == high else "%d-%d" % (low, high) for low, high in parts)


def family(address: str) -> int:
    """Return the family of an address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def source(address: str) -> Optional[str]:
    """Return the own address packets to ``address`` would leave from; None when there is no route."""
    with socket.socket(family(address), socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((address, 9))
        except OSError:
            return None
        return str(sock.getsockname()[0])


class Scan:
    """One scan. ``rate`` is new connections a second at most, ``timeout`` and ``limit`` (of the whole) are seconds."""

    def __init__(self, rate: int, timeout: float, limit: float, at_once: int) -> None:
        self.rate = rate
        self.timeout = timeout
        self.limit = limit
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.at_once = max(16, min(at_once, hard - 64 if hard != resource.RLIM_INFINITY else at_once))
        self.states: Dict[Target, str] = {}
        self.started = time.monotonic()

    def tcp(self, targets: Iterator[Target]) -> Dict[Target, str]:
        """Return the state of every target that was come to; an open port's connection is reset at once."""
        poll = select.epoll()
        sockets: Dict[int, Tuple[socket.socket, Target]] = {}
        deadlines: Deque[Tuple[float, int, socket.socket]] = collections.deque()
        again: Deque[Target] = collections.deque()
        begun = 0
        exhausted = False
        start = time.monotonic()
        while True:
            now = time.monotonic()
            if now - self.started > self.limit:
                break
            room = self._room(now - start, begun, len(sockets))
            for _turn in range(room):
                target = again.popleft() if again else next(targets, None)
                if target is None:
                    exhausted = True
                    break
                begun += 1
                made = self._begin(target, again)
                if made is not None:
                    poll.register(made, select.EPOLLOUT)
                    sockets[made.fileno()] = (made, target)
                    deadlines.append((now + self.timeout, made.fileno(), made))
            if exhausted and not sockets and not again:
                break
            exhausted = exhausted and not again
            for number, _event in poll.poll(0.005):
                sock, target = sockets.pop(number)
                self.states[target] = _state(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
                if self.states[target] == "open":
                    _reset(sock)
                sock.close()
            self._expire(deadlines, sockets)
        for sock, _target in sockets.values():
            sock.close()
        poll.close()
        return self.states

    def _room(self, elapsed: float, begun: int, open_now: int) -> int:
        allowed = int(elapsed * self.rate) + 64 - begun
        return max(0, min(allowed, self.at_once - open_now, 512))

    def _begin(self, target: Target, again: Deque[Target]) -> Optional[socket.socket]:
        try:
            sock = socket.socket(family(target[0]), socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError as error:
            if error.errno not in SHORTAGES:
                raise
            again.append(target)
            return None
        code = sock.connect_ex(target)
        if code in WAITING:
            return sock
        if code in SHORTAGES:
            again.append(target)
        elif code not in NO_ROUTE:
            self.states[target] = _state(code)
            _reset(sock)
        sock.close()
        return None

    def _expire(self, deadlines: Deque[Tuple[float, int, socket.socket]], sockets: Dict[int, Any]) -> None:
        now = time.monotonic()
        while deadlines and deadlines[0][0] <= now:
            _when, number, sock = deadlines.popleft()
            # The number may have gone to a younger socket.
            if number in sockets and sockets[number][0] is sock:
                _sock, target = sockets.pop(number)
                self.states[target] = "filtered"
                sock.close()

    def udp(self, targets: Iterable[Target], question: bytes) -> Dict[Target, str]:
        """Return the state of every target; each has a socket of its own, because only that hears of a refusal."""
        states: Dict[Target, str] = {}
        pending = list(targets)
        size = min(self.at_once, 500)
        for begin in range(0, len(pending), size):
            if time.monotonic() - self.started > self.limit:
                break
            states.update(self._udp_batch(pending[begin : begin + size], question))
        return states

    def _udp_batch(self, batch: List[Target], question: bytes) -> Dict[Target, str]:
        states: Dict[Target, str] = {}
        sockets: Dict[int, Tuple[socket.socket, Target]] = {}
        poll = select.epoll()
        for target in batch:
            sock = socket.socket(family(target[0]), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            code = sock.connect_ex(target)
            if code:
                sock.close()
                continue
            with contextlib.suppress(ConnectionRefusedError, BlockingIOError, PermissionError):
                sock.send(question)
            poll.register(sock, select.EPOLLIN | select.EPOLLERR)
            sockets[sock.fileno()] = (sock, target)
            states[target] = "filtered"
        deadline = time.monotonic() + self.timeout
        while sockets and time.monotonic() < deadline:
            for number, _event in poll.poll(max(0.0, deadline - time.monotonic())):
                sock, target = sockets.pop(number)
                try:
                    sock.recv(2048)
                    states[target] = "open"
                except OSError as error:
                    states[target] = "refused" if error.errno in REFUSALS else "filtered"
                poll.unregister(sock)
                sock.close()
        for sock, _target in sockets.values():
            sock.close()
        poll.close()
        return states


def _state(code: int) -> str:
    if code == 0:
        return "open"
    return "refused" if code in REFUSALS else "filtered"


def _reset(sock: socket.socket) -> None:
    # A reset instead of a farewell: tens of thousands of connections in TIME_WAIT would use up this host's ports.
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
