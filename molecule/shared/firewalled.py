# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of the firewall share: consoles of nodes, scans between them, runs of playbooks; for the scenario they are in."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab import inventory, labs, runs
from lab.progress import Progress
from lab.runs import Run
from lab.testing import Console, wait_for

LAB = os.environ["MOLECULE_SCENARIO_NAME"]
ROOT = Path(__file__).parents[2]
SCENARIO = ROOT / "molecule" / LAB
INVENTORY = inventory.path(LAB)
PLAN = yaml.safe_load((SCENARIO / "plan.yml").read_text())
SCANNER = (ROOT / "tests" / "support" / "portscan.py").read_text()
TABLE = ("nft", "list", "table", "inet", "hardened_vllm")
RULES = "/etc/hardened-vllm/firewall.nft"
HELD = re.compile(r"\n\t\telements = \{ [^}]* ct count over [^}]*\}")
STATE = "/var/lib/hardened-vllm/firewall"


class Node(Console):
    """A node's console, with what these tests ask of a node."""

    def scan(self, addresses: tuple[str, ...], ports: str, *options: str) -> dict[str, list[int]]:
        """Open ports of each address, seen from this node."""
        found: dict[str, list[int]] = json.loads(
            self.run("python3", "-", *addresses, "--ports", ports, *options, given=SCANNER)
        )
        return found

    def exists(self, path: str) -> bool:
        return self.start("test", "-e", path).returncode == 0

    def reboot(self) -> None:
        """Reboot; it comes back with other hardware addresses, and its neighbours shall not wait for the old ones."""
        spec = labs.saved(LAB)
        for subnet in (subnet for network in spec.networks.values() for subnet in network.subnets):
            subprocess.run(["ip", "neigh", "flush", "to", str(subnet)], check=True)
        labs.restart(LAB, self.name, Progress())
        for node in spec.nodes:
            Node(LAB, node.name).run("ip", "neigh", "flush", "all")

    def table(self) -> str:
        """Our table without its counters' values and the clients that are connected just now."""
        return HELD.sub("", self.run("nft", "-s", *TABLE[1:]))

    def firewall(self) -> str:
        """Everything that makes up the firewall, as one text: table, kernel settings, unit, files."""
        text = self.shell(
            "nft -s list table inet hardened_vllm || true; systemctl is-active hardened-vllm-firewall || true;"
            "cat /proc/sys/net/ipv4/ip_local_port_range /proc/sys/net/ipv4/ip_local_reserved_ports;"
            f"for file in {RULES} {STATE}/applied.json {STATE}/sysctl-before.json /etc/sysctl.d/90-*"
            " /etc/systemd/system/hardened-vllm-firewall.service /etc/systemd/system/*.d/*hardened-vllm*"
            " /etc/systemd/system/*.wants/hardened-vllm-firewall.service;"
            ' do echo "$file"; [ ! -f "$file" ] || cat "$file"; done 2>&1'
        )
        return HELD.sub("", text)

    def counters(self) -> dict[str, int]:
        """Packets counted by each commented rule of our table."""
        found: dict[str, int] = {}
        for packets, comment in re.findall(r'counter packets (\d+) .* comment "([^"]+)"', self.run(*TABLE)):
            found[comment] = found.get(comment, 0) + int(packets)
        return found


def start_play(playbook: str, *options: str, **variables: Any) -> subprocess.Popen[str]:
    """Start a playbook of this scenario in a process group of its own."""
    return runs.start_play(LAB, SCENARIO / playbook, *options, **variables)


def play(playbook: str, *options: str, **variables: Any) -> Run:
    """Run a playbook of this scenario to its end."""
    return runs.play(LAB, SCENARIO / playbook, *options, timeout=300, **variables)


def converge(*options: str, **variables: Any) -> Run:
    """Run converge.yml, which has to succeed."""
    run = play("converge.yml", *options, **variables)
    if run.code != 0:
        pytest.fail(run.text)
    return run


def sets_with(**changed: dict[str, list[str]]) -> dict[str, Any]:
    """Return the named sources of the plan, some of them others."""
    return {**PLAN["isolation_sets"], **changed}


def plan_of_engine1(**changed: Any) -> dict[str, Any]:
    """Return plans of the scenario for engine 1 alone, without egress rules and with parts of it changed."""
    part = {"name": "engine1", "roles": ["engine"], "interfaces": {"fabric": "fabric0"}}
    return {"engine1": {**part, "listeners": [], "sysctl": {}, "egress": None, "media": None, **changed}}


def put_back(node: Node, as_converged: str) -> None:
    """Make a node again what it was when it was converged, whatever a test did to it."""
    if node.exists(f"{STATE}/pending"):
        # By its own way back and not by waiting: one test's failure must not lock the others out.
        node.run("sh", f"{STATE}/pending/revert.sh")
        wait_for(lambda: not node.exists(f"{STATE}/reverting"), 30)
    if node.firewall() != as_converged:
        converge("--limit", node.name)
        if node.firewall() != as_converged:
            pytest.fail(f"{node.name} is not what it was when it was converged")


def logs_in(name: str, seconds: float = 4) -> bool:
    """Whether a fresh SSH login from this machine succeeds."""
    hosts = yaml.safe_load(INVENTORY.read_text())["all"]
    common = hosts["vars"]
    command = ["ssh", *shlex.split(common["ansible_ssh_common_args"]), "-i", common["ansible_ssh_private_key_file"]]
    command += ["-o", f"ConnectTimeout={int(seconds)}", "-o", "ControlPath=none", "-o", "BatchMode=yes"]
    address = hosts["hosts"][name]["ansible_host"]
    return subprocess.run([*command, f"root@{address}", "true"], capture_output=True, check=False).returncode == 0
