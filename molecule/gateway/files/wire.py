"""Everything that goes over the wire to and from a TCP port of this node, as it is, until killed. Usage: wire.py PORT FILE."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

IPV4, TCP = 0x0800, 6


def segment(frame: bytes, port: int) -> bytes:
    """Return what an Ethernet frame carries of a connection with ``port``, empty when it is something else."""
    if int.from_bytes(frame[12:14], "big") != IPV4 or frame[23] != TCP:
        return b""
    tcp = frame[14 + (frame[14] & 15) * 4 :]
    ends = int.from_bytes(tcp[0:2], "big"), int.from_bytes(tcp[2:4], "big")
    return tcp[(tcp[12] >> 4) * 4 :] if port in ends else b""


def main() -> None:
    """Listen for ever."""
    port, file = int(sys.argv[1]), Path(sys.argv[2])
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as wire,
        file.open("wb", buffering=0) as kept,
    ):
        while True:
            kept.write(segment(wire.recv(65536), port))


if __name__ == "__main__":
    main()
