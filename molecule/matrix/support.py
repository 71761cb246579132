# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plans of this scenario's lab, what they say of every pair of nodes, and the agents that try it."""

from __future__ import annotations

import copy
import datetime
import ipaddress
import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import pytest
import yaml
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan
from ansible_collections.hardened.vllm.plugins.plugin_utils.inventory import GROUPS
from lab import nodes, spec
from lab.host import Host
from support.firewall import render
from support.topologies import TOPOLOGIES

SCENARIO = Path(__file__).parent
LAB = SCENARIO.name
SPEC = spec.load(SCENARIO / "lab.yml")
AGENT = (SCENARIO / "files/agent.py").read_text()
# The account of the engine in the rules that tests render.
ACCOUNT = 997
# Nobody plans it, and every node has it.
UNPLANNED = 9999
# The first of the ports the questions before any rule come from: no later question shall pass as a reply to one of them.
BEFORE_RULES = 20000
TABLE = "table inet hardened_vllm"
NO_RULES = f"{TABLE}\ndelete {TABLE}\n"


@dataclass(frozen=True)
class Target:
    """One port of one address of a managed node."""

    node: str
    network: str
    protocol: str
    address: str
    port: int


def addresses(node: str) -> dict[str, list[str]]:
    """Return the addresses of a node by network."""
    found = SPEC.node(node)
    return {network: [str(address) for address in SPEC.addresses(found, network)] for network in found.networks}


def declared() -> dict[str, Any]:
    """Return the declaration that all clusters of this scenario have in common."""
    cluster: dict[str, Any] = yaml.safe_load((SCENARIO / "group_vars/all.yml").read_text())["vllm_cluster"]
    # Files of the controller, which the planner does not open.
    cluster["gateway"]["tls"] = {"certificate": "/tls/server.pem", "key": "/tls/server.key"}
    return cluster | {"secrets_directory": "/secrets"}


def planned(topology: str | None = None, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the plan of a topology for the nodes of this lab, with ``more`` keys declared; without one, of the declaration alone."""
    changed = copy.deepcopy(TOPOLOGIES[topology]) if topology is not None else {}
    changed |= more or {}
    stages = changed.pop("stages", (None,))
    if "events" in changed:
        changed["events"]["subscribers"] = ["10.226.1.32/32", "fd77:6a1::32/128"]
    for server in changed.get("cache", {}).get("servers", ()):
        server["to"] = ["10.226.1.53/32"]
    cluster = declared() | changed
    hosts: dict[str, Any] = {}
    for node in SPEC.nodes:
        roles = [GROUPS[group] for group in node.groups if group in GROUPS]
        if roles:
            interfaces = {network: spec.interface_name(network) for network in node.networks}
            hosts[node.name] = {"roles": roles, "node": {"addresses": addresses(node.name), "interfaces": interfaces}}
    engines = [name for name in hosts if "engine" in hosts[name]["roles"]]
    for place, name in enumerate(engines):
        stage = stages[place % len(stages)]
        hosts[name]["node"] |= {} if stage is None else {"stage": stage}
    return plan(cluster, hosts, datetime.date.today())


def rules(made: Mapping[str, Any], node: str) -> str:
    """Return the rules of a node, as the role isolation renders them."""
    return render({"cluster": made, "host": made["hosts"][node]})


def bounds(text: str) -> Iterable[tuple[int, int]]:
    """First and last port of each part of ``8000,40000-44999``."""
    for part in text.split(","):
        first, _dash, last = part.partition("-")
        yield int(first), int(last or first)


def sample(text: str) -> set[int]:
    """Return the ports of a text; of a range its ends, its middle, and what lies just outside."""
    found: set[int] = set()
    for first, last in bounds(text):
        found |= {first} if first == last else {first - 1, first, (first + last) // 2, last, last + 1}
    return found


def ports(made: Mapping[str, Any]) -> list[int]:
    """Return every port that is planned anywhere, and one that is not: all of them listen on every managed node."""
    return sorted({UNPLANNED}.union(*(sample(row["ports"]) for row in made["matrix"])))


def targets(made: Mapping[str, Any]) -> list[Target]:
    """Return every port of every address of every managed node, TCP and UDP."""
    return [
        Target(node, network, protocol, address, port)
        for node in made["hosts"]
        for network, own in addresses(node).items()
        for address in own
        for protocol in ("tcp", "udp")
        for port in ports(made)
    ]


def _among(made: Mapping[str, Any], name: str, address: str) -> bool:
    wanted = ipaddress.ip_address(address)
    return any(wanted in ipaddress.ip_network(entry) for entry in made["sets"][name][f"ipv{wanted.version}"])


def source(node: str, target: Target) -> str | None:
    """Return the address that ``node`` calls ``target`` from, None when it is not on that network."""
    version = ipaddress.ip_address(target.address).version
    own = (ipaddress.ip_address(text) for text in addresses(node).get(target.network, ()))
    return next((str(address) for address in own if address.version == version), None)


def rows_open(made: Mapping[str, Any], node: str, target: Target) -> list[int]:
    """Return the numbers of the matrix's rows that open ``target`` to ``node``."""
    own = source(node, target)
    return [
        number
        for number, row in enumerate(made["matrix"])
        if own is not None
        and row["to"] == target.node
        and row["protocol"] == target.protocol
        and row["network"] in (None, target.network)
        and any(low <= target.port <= high for low, high in bounds(row["ports"]))
        and any(_among(made, name, own) for name in row["open_to"])
    ]


def may_call(made: Mapping[str, Any], node: str, target: Target) -> bool:
    """Whether the plan lets the engine's account of ``node`` call ``target``."""
    return any(
        rule["protocol"] == target.protocol
        and any(low <= target.port <= high for low, high in bounds(rule["ports"]))
        and _among(made, rule["to"], target.address)
        for rule in made["hosts"][node]["egress"]["rules"]
    )


class Agent:
    """A process on a node that obeys commands; see files/agent.py."""

    def __init__(self, node: str, account: int = 0) -> None:
        self.node, self.account = node, account
        command = [*Host().prefix, "podman", "exec", "--interactive", f"--user={account}"]
        self._process = subprocess.Popen(
            [*command, nodes.full_name(LAB, node), "python3", "-c", AGENT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._given, self._told = cast(IO[str], self._process.stdin), cast(IO[str], self._process.stdout)

    def send(self, **command: Any) -> None:
        """Give a command; ``result`` waits for it."""
        self._given.write(json.dumps(command) + "\n")
        self._given.flush()

    def result(self) -> dict[str, Any]:
        """Return the result of the command given last."""
        found: dict[str, Any] = json.loads(self._told.readline())
        if "error" in found:
            pytest.fail(f"{self.node}: {found['error']}")
        return found

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@dataclass(frozen=True)
class Agents:
    """Root's agents of all nodes, and those of the engines' account."""

    root: dict[str, Agent]
    account: dict[str, Agent]

    def closed_to(self, node: str, made: Mapping[str, Any]) -> list[str]:
        """Return what ``node`` does not reach while no rules are there."""
        every = targets(made)
        self.root[node].send(
            probe=[[target.protocol, target.address, target.port, True] for target in every], udp_from=BEFORE_RULES
        )
        states = self.root[node].result()["states"]
        return [f"{target}: {state}" for target, state in zip(every, states, strict=True) if state != "open"]

    def stand_in(self, made: Mapping[str, Any]) -> None:
        """Without any rules, listen on every planned port of every managed node; sshd does on its own."""
        wanted = ports(made)
        for node in made["hosts"]:
            self.root[node].send(rules=NO_RULES, listen={"tcp": [port for port in wanted if port != 22], "udp": wanted})
        for node in made["hosts"]:
            self.root[node].result()

    def load(self, texts: Mapping[str, str]) -> None:
        """Give nodes their rules."""
        for node, text in texts.items():
            self.root[node].send(rules=text)
        for node in texts:
            self.root[node].result()

    def differences(self, made: Mapping[str, Any]) -> list[str]:
        """Try every pair of nodes and port; return what is not as the plan says, and rows that nobody proved."""
        every = targets(made)
        # The account's first: on a port that root had just used, its packets would belong to root's connection.
        proved: set[tuple[int, bool]] = set()
        found = self._try(made, every, self.account.values(), proved) + self._try(
            made, every, self.root.values(), proved
        )
        return found + [
            f"nobody proved that it opens: {row}"
            for number, row in enumerate(made["matrix"])
            if (number, False) not in proved or (_of_engines(row) and (number, True) not in proved)
        ]

    @staticmethod
    def _try(
        made: Mapping[str, Any], every: list[Target], callers: Iterable[Agent], proved: set[tuple[int, bool]]
    ) -> list[str]:
        """Let agents try every target at the same time; return what differs, and add what rows they proved."""
        expected: dict[Agent, list[bool]] = {}
        asked: dict[Agent, list[Target]] = {}
        for agent in callers:
            asked[agent] = [target for target in every if target.node != agent.node]
            expected[agent] = []
            for target in asked[agent]:
                rows = rows_open(made, agent.node, target)
                may = bool(rows) and (not agent.account or may_call(made, agent.node, target))
                expected[agent].append(may)
                proved |= {(row, bool(agent.account)) for row in rows if may}
            agent.send(probe=[
                [target.protocol, target.address, target.port, may]
                for target, may in zip(asked[agent], expected[agent], strict=True)
            ])  # fmt: skip
        found = []
        for agent in callers:
            for target, may, state in zip(asked[agent], expected[agent], agent.result()["states"], strict=True):
                # A dropped packet is not answered; a call that its own host refuses is.
                closed = ("silent", "refused") if agent.account else ("silent",)
                routed = source(agent.node, target) is not None
                if state not in (("open",) if may else closed if routed else ("no route",)):
                    who = f"account {agent.account} of {agent.node}" if agent.account else agent.node
                    found.append(f"{who} -> {target}: {state}, planned {'open' if may else 'closed'}")
        return found


def _of_engines(row: Mapping[str, Any]) -> bool:
    """Whether a row is for engines, whose account then has to be let out to it."""
    return any(name.startswith("peers-") or name in ("prefill", "decode", "engines") for name in row["open_to"])
