# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an audit costs: its scan of 65,535 ports of 8 hosts, its look at a host, and a whole run of the playbook by number of hosts.

Hosts are network namespaces behind one bridge, with a firewall that drops (nothing is answered, the slow case) or without one (everything is refused).
For the whole run Ansible reaches them by a Python of their own, without SSH and without systemd; they are declared as a cluster that nobody set up, so the
plan is compared and members look at each other. They share this machine's processes and files, of which each tells. Remote executions and what they
brought back are counted at that Python. Needs root.

Usage: PYTHONPATH=.cache:tests python tests/benchmarks/bench_audit.py [MOST_HOSTS [PAGE]]; PAGE is a file the result is added to.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from support import costs

ROOT = Path(__file__).resolve().parents[2]
SIZES = (1, 8, 32)
BRIDGE, PREFIX = "hvb-audit", "10.231.9"
HOSTS = 8
NETWORKS = {"fabric": f"{PREFIX}.0/24", "management": "10.231.10.0/24", "edge": "10.231.11.0/24"}
OBSERVER = "hvb-a-observer"
# A module's own function, in a process of its own, as Ansible runs it.
CALL = """
import json, resource, sys
from ansible_collections.hardened.vllm.plugins.modules import {module}
found = {module}.collect(json.load(sys.stdin))
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([len(json.dumps(found)), used.ru_maxrss, round(used.ru_utime + used.ru_stime, 1), found]))
"""
DROP = "table inet filter { chain input { type filter hook input priority 0; policy drop; tcp dport 443 accept; }; }"


def run(*argv: str, given: str = "") -> str:
    """Run a command that must succeed; return its output."""
    done = subprocess.run(argv, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(argv)}: {done.stderr or done.stdout[-2000:]}")
    return done.stdout


@contextmanager
def hosts(dropping: bool, count: int = HOSTS) -> Iterator[list[str]]:
    """So many namespaces with an address each, and the observer's, on one bridge."""
    names = [f"hvb-a-{number}" for number in range(count)]
    try:
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "link", "set", BRIDGE, "up")
        for number, name in enumerate([*names, OBSERVER]):
            run("ip", "netns", "add", name)
            run("ip", "link", "add", f"hvb-v{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "link", "set", f"hvb-v{number}", "master", BRIDGE, "up")
            run("ip", "-n", name, "address", "add", f"{PREFIX}.{number + 1}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")
            # Of the other networks only the addresses: nobody has a route there.
            for network in list(NETWORKS.values())[1:]:
                run("ip", "-n", name, "address", "add", network.replace("0/24", f"{number + 1}/32"), "dev", "lo")
            if dropping and name != OBSERVER:
                run("ip", "netns", "exec", name, "nft", "-f", "-", given=DROP)
        yield [f"{PREFIX}.{number + 1}" for number in range(count)]
    finally:
        for name in [*names, OBSERVER]:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "delete", BRIDGE], capture_output=True, check=False)


def call(module: str, params: dict[str, Any], *prefix: str) -> tuple[float, list[Any]]:
    """Return seconds of wall time and what CALL printed."""
    started = time.monotonic()
    text = run(*prefix, sys.executable, "-c", CALL.format(module=module), given=json.dumps(params))
    return time.monotonic() - started, json.loads(text)


def scan(dropping: bool) -> str:
    """Scan eight hosts; return a row of the table."""
    with hosts(dropping) as addresses:
        targets = [{"host": one, "address": one, "tcp": "1-65535", "udp": ""} for one in addresses]
        params = {"observer": "o", "standing": "observer", "targets": targets}
        limits = {"rate": 20000, "at_once": 16000, "timeout": 1.5, "limit": 300}
        seconds, (size, memory, busy, found) = call(
            "audit_reach", {**params, **limits}, "ip", "netns", "exec", OBSERVER
        )
    untried = [row["untried"] for row in found["reached"] if row["untried"]]
    if untried or len(found["reached"]) != HOSTS:
        sys.exit(f"the scan did not come to everything: {untried}")
    what = "drop everything" if dropping else "refuse everything"
    return f"| scan of 65,535 ports of {HOSTS} hosts that {what} | {seconds:.1f} s | {size:,} | {memory // 1024} MiB, {busy} s of CPU |"


def cluster(directory: Path) -> dict[str, Any]:
    """Return the declaration of the lab's cluster."""
    return {
        "name": "bench",
        "release": "0.32.0",
        "topology": "replicas",
        "model": {"path": "/srv/models/none", "name": "none"},
        "networks": {name: {"cidrs": [subnet]} for name, subnet in NETWORKS.items()},
        "gateway": {"server_name": "gateway.example.org", "tls": {"certificate": "/none.crt", "key": "/none.key"}},
        "tenants": [{"name": "acme", "keys": [{"id": "k1"}]}],
        "admin": {"ssh_from": [NETWORKS["management"]]},
        "secrets_directory": str(directory / "secrets"),
    }


def inventory(addresses: list[str], directory: Path) -> Path:
    """Write the inventory of the namespaces, the last a gateway; a single one is nobody's, as a gateway alone is no cluster."""
    found: dict[str, dict[str, Any]] = {"vllm_nodes": {}, "vllm_gateways": {}, "vllm_observers": {}}
    for number, address in enumerate(addresses):
        group = "vllm_gateways" if number == len(addresses) - 1 > 0 else "vllm_nodes"
        legs = {name: [network.replace("0/24", address.rpartition(".")[2])] for name, network in NETWORKS.items()}
        found[group][f"host{number}"] = {
            "vllm_node": {"addresses": legs},
            **({"vllm_cluster": cluster(directory)} if len(addresses) > 1 else {}),
            **reached_by(f"hvb-a-{number}", directory),
        }
    found["vllm_observers"]["observer"] = reached_by(OBSERVER, directory)
    path = directory / "hosts.yml"
    path.write_text(yaml.safe_dump({name: {"hosts": some} for name, some in found.items()}), encoding="utf-8")
    return path


def reached_by(namespace: str, directory: Path) -> dict[str, Any]:
    """Return the connection to a namespace: a Python inside of it, which keeps what each call brought back."""
    path = directory / f"python-{namespace}"
    calls = f'"$(mktemp {directory}/calls/{namespace}.XXXXXX)"'
    path.write_text(
        f'#!/bin/bash\nset -o pipefail\nip netns exec {namespace} /usr/bin/python3 "$@" | tee {calls}\n',
        encoding="utf-8",
    )
    path.chmod(0o755)
    return {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": str(path)}


def whole(count: int, directory: Path) -> str:
    """Audit so many hosts with the playbook; return a row of the table."""
    calls = directory / "calls"
    calls.mkdir(parents=True)
    with hosts(dropping=True, count=count) as addresses:
        command = ["ansible-playbook", "-i", str(inventory(addresses, directory)), str(ROOT / "playbooks/audit.yml")]
        command += ["-e", f"audit_report_dir={directory}/out", "-e", "audit_fail_on=never"]
        started = time.monotonic()
        run(*command)
        seconds = time.monotonic() - started
    made: dict[str, list[int]] = {}
    for file in calls.iterdir():
        made.setdefault(file.name.rpartition(".")[0], []).append(file.stat().st_size)
    evidence = json.loads((directory / "out/evidence.json").read_text(encoding="utf-8"))
    if len(evidence["hosts"]) != count or evidence["missing"]:
        sys.exit(f"not every host was looked at: {evidence['missing']}")
    untried = sum(bool(row["untried"]) for seen in evidence["reach"] for row in seen["reached"])
    most = max(len(sizes) for sizes in made.values())
    brought = sum(map(sum, made.values()))
    places = f"{len(evidence['reach'])} places, {untried} addresses not tried whole"
    return f"| whole audit of {count} host(s), every port | {seconds:.1f} s | {brought:,} | at most {most} executions a host; {places} |"


PAGE = """
## The audit

Written by tests/benchmarks/bench_audit.py: hosts are network namespaces with a firewall that drops, reached without SSH. Goals: 65,535 ports of 8 hosts
within 60 s, at most 6 remote executions a host.

"""


def measured(most: int) -> Iterator[str]:
    """Yield the lines of the table as they are known; whole runs with at most ``most`` hosts."""
    yield "| what | wall time | bytes brought back | besides |"
    yield "|---|---|---|---|"
    yield scan(dropping=True)
    yield scan(dropping=False)
    params: dict[str, Any] = {"paths": [], "trees": [], "sysctl": [], "packages": ["nginx"]}
    seconds, (size, memory, busy, _found) = call("audit_host", params)
    yield f"| look at this machine | {seconds:.1f} s | {size:,} | {memory // 1024} MiB, {busy} s of CPU |"
    with tempfile.TemporaryDirectory() as name:
        for size in SIZES:
            if size <= most:
                yield whole(size, Path(name) / str(size))


def main() -> None:
    """Print the table."""
    lines = []
    for line in measured(int(sys.argv[1]) if len(sys.argv) > 1 else max(SIZES)):
        print(line, flush=True)
        lines.append(line)
    if len(sys.argv) > 2:
        costs.keep(Path(sys.argv[2]), PAGE + "\n".join(lines))


if __name__ == "__main__":
    main()
