# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an audit costs: its scan of 65,535 ports of 8 hosts, its look at a host, and a whole run of the playbook by number of hosts.

Hosts are network namespaces behind one bridge, with a firewall that drops (nothing is answered, the slow case) or without one (everything is refused).
The whole run needs a lab that stands (molecule converge -s audit) and is left out without it. Needs root.

Usage: PYTHONPATH=.cache:tests python tests/benchmarks/bench_audit.py
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = ROOT / ".lab/audit/inventory"
BRIDGE, PREFIX = "hvb-audit", "10.231.9"
HOSTS = 8
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
        sys.exit(f"{' '.join(argv)}: {done.stderr}")
    return done.stdout


@contextmanager
def hosts(dropping: bool) -> Iterator[list[str]]:
    """Eight namespaces with an address each, and the observer's, on one bridge."""
    names = [f"hvb-a-{number}" for number in range(HOSTS)]
    try:
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "link", "set", BRIDGE, "up")
        for number, name in enumerate([*names, OBSERVER]):
            run("ip", "netns", "add", name)
            run("ip", "link", "add", f"hvb-v{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "link", "set", f"hvb-v{number}", "master", BRIDGE, "up")
            run("ip", "-n", name, "address", "add", f"{PREFIX}.{number + 1}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")
            if dropping and name != OBSERVER:
                run("ip", "netns", "exec", name, "nft", "-f", "-", given=DROP)
        yield [f"{PREFIX}.{number + 1}" for number in range(HOSTS)]
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


def whole(names: list[str], directory: Path) -> str:
    """Audit lab hosts with the playbook; return a row of the table."""
    started = time.monotonic()
    command = [
        "ansible-playbook",
        "-i",
        str(INVENTORY),
        str(ROOT / "playbooks/audit.yml"),
        "--limit",
        ",".join([*names, "observer"]),
    ]
    command += ["-e", f"audit_report_dir={directory}", "-e", "audit_fail_on=never", "-v"]
    text = run(*command)
    seconds = time.monotonic() - started
    evidence = (directory / "evidence.json").stat().st_size
    executions = len(
        re.findall(
            r"^TASK \[hardened\.vllm\.audit : (?:Look at the host|Try the ports|Ask for every)", text, re.MULTILINE
        )
    )
    return f"| whole audit of {len(names)} lab host(s), every port | {seconds:.1f} s | {evidence:,} | at most {executions} executions a host |"


def main() -> None:
    """Measure and print the table."""
    print("| what | wall time | bytes brought back | besides |\n|---|---|---|---|")
    print(scan(dropping=True), flush=True)
    print(scan(dropping=False), flush=True)
    params: dict[str, Any] = {"paths": [], "trees": [], "sysctl": [], "packages": ["nginx"]}
    seconds, (size, memory, busy, _found) = call("audit_host", params)
    print(f"| look at this machine | {seconds:.1f} s | {size:,} | {memory // 1024} MiB, {busy} s of CPU |", flush=True)
    if not INVENTORY.exists():
        print("no lab of the scenario audit stands, so no whole run was measured", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as directory:
        for names in (["engine1"], ["engine1", "engine2", "gateway", "stranger", "foreign"]):
            print(whole(names, Path(directory)), flush=True)


if __name__ == "__main__":
    main()
