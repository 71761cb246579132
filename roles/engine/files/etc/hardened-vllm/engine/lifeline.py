"""Ends this node's part of an engine when another node's part has ended, so that all of them start again together.

vLLM's processes on other nodes do not notice such an end, or only with their next request, and none of them can join a run it
did not begin with. The nodes tell each other over one connection to the first of them which run of the unit is up; systemd
starts again what ended. Usage: lifeline.py CONFIGURATION, a JSON file (see the role's README).
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PAUSE = 2.0
UP = ("active", "deactivating")
CONNECT_SECONDS = 2.0
# Runs belong together when both have been up this long; none reaches its peers sooner, and what ended starts 10 s later.
SETTLE_SECONDS = 15.0
LINE = re.compile(rb"([0-9a-f]{32}|-)\n")
LINE_BYTES = 33


def comparable(address: str) -> str:
    """Return an address as others spell it: no zone, an IPv4 address as such."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)


class Bond:
    """The runs of the unit here and on one other node, which end together once both were up for a while."""

    def __init__(self) -> None:
        self.bound: tuple[str, str] | None = None
        self._seen = ("", "")
        self._since = 0.0

    def broken(self, own: str, other: str, now: float) -> bool:
        """Tell whether the run here has to end, because the other's has; a run that is not up is an empty text."""
        if (own, other) != self._seen:
            self._seen, self._since = (own, other), now
        ended = self.bound is not None and self.bound[0] == own and self.bound[1] != other
        if self.bound != (own, other):
            self.bound = None
        if own and other and now - self._since >= SETTLE_SECONDS:
            self.bound = (own, other)
        return ended


class Wire:
    """A connection to another node. ``heard`` is its run as it said last, None before it has said any."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._unread = b""
        self.heard: str | None = None
        self.fresh = False

    def exchange(self, own: str) -> bool:
        """Say which run is up here and read what the other said; False when the connection is over."""
        self.fresh = False
        try:
            self._connection.send((own or "-").encode() + b"\n")
        except BlockingIOError:
            pass  # the other does not read: it is lost, and silence tells
        except OSError:
            return False
        try:
            while part := self._connection.recv(4096):
                self._unread += part
            return False
        except BlockingIOError:
            return self._read()
        except OSError:
            return False

    def _read(self) -> bool:
        said = LINE.findall(self._unread)
        self.fresh = bool(said)
        if said:
            self.heard = said[-1].decode().replace("-", "")
            self._unread = self._unread[self._unread.rindex(b"\n") + 1 :]
        return len(self._unread) <= LINE_BYTES

    def close(self) -> None:
        self._connection.close()


class Lifeline:
    """All connections of this node, and what became of the others' runs."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._told = told
        self._peers = {comparable(peer) for peer in told["peers"]}
        self._wires: dict[str, Wire] = {}
        self._heard: dict[str, tuple[str, float]] = {}
        self._bonds: dict[str, Bond] = {}
        self.listener = self._listen() if told["head"] else None

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._told["address"] else socket.AF_INET
        listener = socket.create_server((self._told["address"], self._told["port"]), family=family)
        listener.setblocking(False)
        return listener

    def _connect(self) -> None:
        if self.listener:
            with contextlib.suppress(BlockingIOError):
                while True:
                    connection, (address, *_rest) = self.listener.accept()
                    self._take(comparable(address), connection)
        elif not self._wires:
            with contextlib.suppress(OSError):
                where = (self._told["address"], self._told["port"])
                self._take(comparable(where[0]), socket.create_connection(where, CONNECT_SECONDS))

    def _take(self, peer: str, connection: socket.socket) -> None:
        if peer not in self._peers:
            connection.close()
            return
        if peer in self._wires:
            self._wires[peer].close()
        self._wires[peer] = Wire(connection)

    def broken_by(self, own: str, now: float) -> list[str]:
        """Talk to the other nodes; return those whose end is the end of the run ``own`` here too."""
        self._connect()
        for peer, wire in list(self._wires.items()):
            alive = wire.exchange(own)
            if wire.fresh and wire.heard is not None:
                self._heard[peer] = (wire.heard, now)
            silent = now - self._heard.setdefault(peer, ("", now))[1] >= self._told["silence_seconds"]
            if not alive or silent:
                wire.close()
                del self._wires[peer]
        found = []
        for peer, (run, at) in self._heard.items():
            other = run if now - at < self._told["silence_seconds"] else ""
            if self._bonds.setdefault(peer, Bond()).broken(own, other, now):
                found.append(peer)
        return found


def run_of(unit: str) -> str:
    """Return the id of the unit's run, empty while it is not up. One that is being stopped still ends its requests, and needs the others for them."""
    argv = ["systemctl", "show", "--property", "ActiveState,InvocationID", unit]
    said = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    found = dict(line.split("=", 1) for line in said.split() if "=" in line)
    return found.get("InvocationID", "") if found.get("ActiveState") in UP else ""


def main() -> None:
    """Stay for as long as the host is up."""
    told = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    lifeline = Lifeline(told)
    while True:
        own = run_of(told["unit"])
        for peer in lifeline.broken_by(own, time.monotonic()):
            print(
                f"the engine's run on {peer} has ended: ending that of {told['unit']}, which starts again", flush=True
            )
            # At once: requests under way have lost a part of their engine. Not "restart", which would start what somebody stopped.
            subprocess.run(["systemctl", "kill", "--signal=KILL", told["unit"]], check=False)
        time.sleep(PAUSE)


if __name__ == "__main__":
    main()
