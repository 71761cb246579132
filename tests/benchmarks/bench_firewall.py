# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the firewall costs between two nodes, by number of peers: bytes, new connections, and changing it.

Two network namespaces joined by a veth pair; "none" is the same pair without a table, "tracking" with one of a single rule
that has the kernel track connections, as every firewall that knows replies does. What lies between "none" and "tracking" is the
kernel's price for knowing connections; what lies beyond is our rules'. Every round measures every case, in an order that
turns, so that the machine's other work falls on all alike. Both are given by the second and, which other work disturbs
less, by the second of the sender's CPU: on a veth pair it does the filtering of both sides. Needs root.

Usage: PYTHONPATH=.cache:tests python tests/benchmarks/bench_firewall.py [ROUNDS [PAGE]]; PAGE is a file the result is added to.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.hardened.vllm.plugins.module_utils.firewall_rules import Rules
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan
from support import costs
from support.firewall import rules_of
from support.topologies import declaration

TODAY = datetime.date(2026, 11, 23)
PEERS = (2, 1_000, 10_000)
SERVER, CLIENT = "hvb-server", "hvb-client"
ADDRESSES = {SERVER: "10.20.0.11", CLIENT: "10.20.0.12"}
SECONDS = 2.0
TRACKING = """
table inet tracking {
    chain input {
        type filter hook input priority filter; policy accept;
        ct state invalid drop
    }
}
"""
KINDS = ("bytes", "connections", "bytes by CPU", "connections by CPU")
# One planned port reads what comes, the other one closes what it accepts.
SINK = """
import socket, threading
def streams(server):
    buffer = bytearray(1 << 20)
    while True:
        connection = server.accept()[0]
        while connection.recv_into(buffer):
            pass
        connection.close()
threading.Thread(target=streams, args=(socket.create_server(("", 40500)),), daemon=True).start()
server = socket.create_server(("", 40501), backlog=4096)
print("ready", flush=True)
while True:
    server.accept()[0].close()
"""
SOURCE = """
import json, socket, struct, sys, time
address, seconds = sys.argv[1], float(sys.argv[2])
block = bytes(1 << 20)
stream = socket.create_connection((address, 40500), 5)
sent, end, cpu = 0, time.monotonic() + seconds, time.process_time()
while time.monotonic() < end:
    sent += stream.send(block)
sending = time.process_time() - cpu
stream.close()
made, end, cpu = 0, time.monotonic() + seconds, time.process_time()
while time.monotonic() < end:
    one = socket.create_connection((address, 40501), 5)
    # A reset at the end: no port stays in TIME_WAIT.
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()
    made += 1
making = time.process_time() - cpu
print(json.dumps({
    "bytes": sent / seconds,
    "connections": made / seconds,
    "bytes by CPU": sent / sending,
    "connections by CPU": made / making,
}))
"""


def ip(*words: str) -> None:
    """Run ip, which has to succeed."""
    subprocess.run(["ip", *words], check=True)


@contextmanager
def pair() -> Iterator[None]:
    """Two namespaces, each with the address of a node."""
    try:
        for name in ADDRESSES:
            ip("netns", "add", name)
        ip("link", "add", "eth1", "netns", SERVER, "type", "veth", "peer", "name", "eth1", "netns", CLIENT)
        for name, address in ADDRESSES.items():
            ip("-n", name, "address", "add", f"{address}/8", "dev", "eth1")
            ip("-n", name, "link", "set", "eth1", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield
    finally:
        for name in ADDRESSES:
            subprocess.run(["ip", "netns", "del", name], check=False)


def rules(peers: int, moved: int = 0) -> Rules:
    """Return the rules of an engine's node among ``peers`` nodes; the last one's address moves up by ``moved``."""
    made = plan(*declaration("data parallel, internal", range(11, 13)), TODAY)
    first = ipaddress.ip_address(ADDRESSES[SERVER])
    addresses = [str(first + number) for number in range(peers - 1)] + [str(first + peers - 1 + moved)]
    sets: dict[str, Any] = {**made["sets"], "peers-0": {"ipv4": addresses, "ipv6": []}}
    sets["fabric"] = {"ipv4": ["10.0.0.0/8"], "ipv6": []}
    return rules_of({"cluster": {**made, "sets": sets}, "host": made["hosts"]["engine11"]})


def load(name: str, file: Path) -> float:
    """Put a file of rules in force in a namespace; return the seconds it took."""
    start = time.monotonic()
    subprocess.run(["ip", "netns", "exec", name, "nft", "-f", str(file)], check=True)
    return time.monotonic() - start


def measured(file: Path | None) -> dict[str, float]:
    """Return bytes and connections a second, with the rules of ``file`` or none on both nodes."""
    for name in ADDRESSES:
        subprocess.run(["ip", "netns", "exec", name, "nft", "flush", "ruleset"], check=True)
        if file is not None:
            load(name, file)
    argv = ["ip", "netns", "exec", CLIENT, sys.executable, "-c", SOURCE, ADDRESSES[SERVER], str(SECONDS)]
    found: dict[str, float] = json.loads(subprocess.check_output(argv))
    return found


def spread(values: list[float], form: str = ".3f") -> str:
    """Return the median and the range of some values."""
    return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


PAGE = """
## The firewall

Written by tests/benchmarks/bench_firewall.py: two network namespaces and a veth pair in place of nodes, {rounds} rounds whose cases take turns.
"tracking" is a table of one rule that has the kernel track connections, as every firewall that knows replies does.
Goal: at least 0.97 of no table, whatever the number of peers.

"""


def main(rounds: int, page: Path | None) -> None:
    """Print the tables, and add them to ``page``."""
    lines = []
    if os.geteuid() != 0:
        sys.exit("bench_firewall: network namespaces need root; run this as root")
    with tempfile.TemporaryDirectory() as place, pair():
        cases: dict[str, Path | None] = {"none": None, "tracking": Path(place) / "tracking.nft"}
        (Path(place) / "tracking.nft").write_text(TRACKING)
        for peers in PEERS:
            cases[f"{peers:,}"] = Path(place) / f"{peers}.nft"
            (Path(place) / f"{peers}.nft").write_text(rules(peers).text())
        sink = subprocess.Popen(
            ["ip", "netns", "exec", SERVER, sys.executable, "-c", SINK], stdout=subprocess.PIPE, text=True
        )
        assert sink.stdout is not None
        sink.stdout.readline()
        names, rows = list(cases), []
        for number in range(rounds):
            turned = names[number % len(names) :] + names[: number % len(names)]
            rows.append({name: measured(cases[name]) for name in turned})
        for base, words in (("none", "no table"), ("tracking", "a table that only tracks connections")):
            lines += [f"Ratios to {words}:\n", f"| peers | {' | '.join(KINDS)} |", f"|---{'|---' * len(KINDS)}|"]
            for name in names:
                ratios = [[row[name][kind] / row[base][kind] for row in rows] for kind in KINDS]
                lines.append(f"| {name} | {' | '.join(map(spread, ratios))} |")
            lines.append("")
        lines += ["| peers | put in force, s | one peer changed, s |", "|---|---|---|"]
        for peers in PEERS:
            now, then = rules(peers), rules(peers, 1)
            file, other = Path(place) / "now.nft", Path(place) / "other.nft"
            file.write_text(now.text())
            other.write_text(then.update(now.elements))
            whole, changed = [], []
            for _round in range(rounds):
                subprocess.run(["ip", "netns", "exec", SERVER, "nft", "flush", "ruleset"], check=True)
                whole.append(load(SERVER, file))
                changed.append(load(SERVER, other))
            lines.append(f"| {peers:,} | {spread(whole)} | {spread(changed)} |")
        sink.kill()
    print("\n".join(lines))
    if page is not None:
        costs.keep(page, PAGE.format(rounds=rounds) + "\n".join(lines))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7, Path(sys.argv[2]) if len(sys.argv) > 2 else None)
