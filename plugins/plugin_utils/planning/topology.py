# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which hosts form one engine, in which order, and which vLLM processes each host runs for it."""

from __future__ import annotations

from dataclasses import dataclass

from ..declaration.model import Declaration, Host
from ..declaration.topology_schema import STAGES


@dataclass(frozen=True)
class EngineGroup:
    """One engine: its members in the order of their ranks, named for the first of them.

    ``stage`` is None unless prefill and decode are apart.
    """

    name: str
    members: tuple[Host, ...]
    stage: str | None = None

    @property
    def peers(self) -> str | None:
        """Name of the set of addresses its members share, None when there is nobody to talk to."""
        return f"peers-{self.name}" if len(self.members) > 1 else None

    @property
    def head_address(self) -> str:
        return str(self.members[0].legs["fabric"].primary)


@dataclass(frozen=True)
class Seat:
    """One vLLM process. ``node`` is the host's place in its engine.

    ``local`` counts the host's processes and shifts their ports; ``first_rank`` and ``ranks`` are the data parallel
    ranks the process runs; ``api`` tells whether it serves HTTP.
    """

    group: EngineGroup
    host: Host
    node: int
    local: int
    first_rank: int
    ranks: int
    api: bool

    @property
    def head(self) -> bool:
        """Whether the other processes of the engine look for this one."""
        return self.node == 0 and self.first_rank == 0

    @property
    def name(self) -> str:
        """Name of the process on its host."""
        return "engine" if self.local == 0 else f"engine-{self.local}"


def groups(declaration: Declaration) -> list[EngineGroup]:
    """Return the engines, those of prefill before those of decode."""
    found: list[EngineGroup] = []
    for stage in (None, *STAGES):
        hosts = tuple(host for host in declaration.with_role("engine") if host.stage == stage)
        prefix = "" if stage is None else f"{stage}-"
        if declaration.values["topology"] == "replicas":
            found += _replicas(declaration, hosts, stage, prefix)
            continue
        size = int(declaration.values["engine"]["nodes_per_engine"] or len(hosts) or 1)
        for start in range(0, len(hosts), size):
            # A number would change with every engine that is added before it.
            found.append(EngineGroup(f"{prefix}{hosts[start].name}", hosts[start : start + size], stage))
    return found


def _replicas(declaration: Declaration, hosts: tuple[Host, ...], stage: str | None, prefix: str) -> list[EngineGroup]:
    count = int(declaration.values["engine"]["engines_per_node"])
    suffixes = [""] if count == 1 else [f"-{number}" for number in range(count)]
    return [EngineGroup(f"{prefix}{host.name}{suffix}", (host,), stage) for host in hosts for suffix in suffixes]


def seats(declaration: Declaration) -> list[Seat]:
    """Return every vLLM process, by engine and rank."""
    engine, topology = declaration.values["engine"], declaration.values["topology"]
    ranks = int(engine["ranks_per_node"]) if topology == "data_parallel" else 1
    balancing = engine["load_balancing"] if topology == "data_parallel" else "internal"
    found: list[Seat] = []
    seen: dict[str, int] = {}
    for group in groups(declaration):
        # Ray starts the workers of other nodes itself.
        members = group.members[:1] if engine["executor"] == "ray" else group.members
        for node, host in enumerate(members):
            local = seen.get(host.name, 0)
            if balancing == "external":
                made = [Seat(group, host, node, local + rank, node * ranks + rank, 1, True) for rank in range(ranks)]
            else:
                made = [Seat(group, host, node, local, node * ranks, ranks, node == 0 or balancing == "hybrid")]
            seen[host.name] = local + len(made)
            found += made
    return found


def data_parallel_ranks(declaration: Declaration, group: EngineGroup) -> int:
    """Return how many data parallel ranks an engine has."""
    if declaration.values["topology"] == "data_parallel":
        return len(group.members) * int(declaration.values["engine"]["ranks_per_node"])
    return 1


def ranks_behind(declaration: Declaration, seat: Seat) -> int:
    """Return how many data parallel ranks answer requests to the API of ``seat``."""
    if declaration.values["engine"]["load_balancing"] == "internal":
        return data_parallel_ranks(declaration, seat.group)
    return seat.ranks


def accelerators(declaration: Declaration, seat: Seat) -> int:
    """Return how many accelerators the process of ``seat`` uses on its host."""
    engine = declaration.values["engine"]
    if declaration.values["topology"] == "data_parallel":
        return seat.ranks * int(engine["accelerators_per_rank"])
    return int(engine["ranks_per_node"])
