# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which hosts form one engine, in which order, and what each of them tells ``vllm serve`` about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..declaration.model import Declaration, Host


@dataclass(frozen=True)
class EngineGroup:
    """One vLLM server: its members in the order of their ranks; member 0 serves the API."""

    name: str
    members: tuple[Host, ...]

    @property
    def peers(self) -> str | None:
        """Name of the set of addresses its members share, None when there is nobody to talk to."""
        return f"peers-{self.name}" if len(self.members) > 1 else None


@dataclass(frozen=True)
class Seat:
    """One host's place in its engine."""

    group: EngineGroup
    host: Host
    rank: int

    @property
    def head(self) -> bool:
        return self.rank == 0

    @property
    def head_address(self) -> str:
        return str(self.group.members[0].legs["fabric"].primary)


def seats(declaration: Declaration) -> list[Seat]:
    """Return the seat of every engine host."""
    engines = declaration.with_role("engine")
    if declaration.values["topology"] == "replicas":
        groups = [EngineGroup(host.name, (host,)) for host in engines]
    else:
        groups = [EngineGroup("0", engines)]
    return [Seat(group, host, rank) for group in groups for rank, host in enumerate(group.members)]


def arguments(declaration: Declaration, seat: Seat) -> list[str]:
    """Return the options that place ``seat`` in its engine."""
    return _ARGUMENTS[declaration.values["topology"]](declaration, seat)


def fixed_ports(declaration: Declaration, seat: Seat) -> dict[str, int]:
    """Return the fixed ports peers reach on ``seat``, by listener name."""
    engine = declaration.values["engine"]
    if seat.group.peers is None or not seat.head:
        return {}
    if declaration.values["topology"] == "tensor_parallel":
        return {"rendezvous": engine["master_port"]}
    return {"data-parallel-handshake": engine["data_parallel_port"]}


def data_parallel_ranks(declaration: Declaration, seat: Seat) -> int:
    """Return how many data parallel ranks the server of ``seat`` has."""
    if declaration.values["topology"] == "data_parallel":
        return len(seat.group.members) * int(declaration.values["engine"]["ranks_per_node"])
    return 1


def _replicas(declaration: Declaration, _seat: Seat) -> list[str]:
    return ["--tensor-parallel-size", str(declaration.values["engine"]["ranks_per_node"])]


def _data_parallel(declaration: Declaration, seat: Seat) -> list[str]:
    engine = declaration.values["engine"]
    local = int(engine["ranks_per_node"])
    words = [
        "--data-parallel-size",
        str(data_parallel_ranks(declaration, seat)),
        "--data-parallel-size-local",
        str(local),
        "--data-parallel-address",
        seat.head_address,
        "--data-parallel-rpc-port",
        str(engine["data_parallel_port"]),
    ]
    if seat.head:
        return words
    return [*words, "--headless", "--data-parallel-start-rank", str(seat.rank * local)]


def _tensor_parallel(declaration: Declaration, seat: Seat) -> list[str]:
    engine = declaration.values["engine"]
    nodes = len(seat.group.members)
    words = ["--tensor-parallel-size", str(nodes * int(engine["ranks_per_node"]))]
    if nodes == 1:
        return words
    words += [
        "--nnodes",
        str(nodes),
        "--node-rank",
        str(seat.rank),
        "--master-addr",
        seat.head_address,
        "--master-port",
        str(engine["master_port"]),
    ]
    return words if seat.head else [*words, "--headless"]


_ARGUMENTS: dict[str, Callable[[Declaration, Seat], list[str]]] = {
    "replicas": _replicas,
    "data_parallel": _data_parallel,
    "tensor_parallel": _tensor_parallel,
}
