# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options that place a vLLM process in its engine (facts 3.5, vllm/engine/arg_utils.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..declaration.model import Declaration, PortRange
from .topology import Seat, data_parallel_ranks


def arguments(declaration: Declaration, seat: Seat) -> list[str]:
    """Return the options of ``vllm serve`` that place ``seat``."""
    return _ARGUMENTS[declaration.values["topology"]](declaration, seat)


def fixed_ports(declaration: Declaration, seat: Seat) -> dict[str, tuple[int, str]]:
    """Return the fixed ports peers reach on ``seat``: listener name to port and the address it is bound to."""
    engine, topology = declaration.values["engine"], declaration.values["topology"]
    if seat.group.peers is None or not seat.head or engine["executor"] == "ray":
        return {}
    if topology == "data_parallel":
        return {"data-parallel-handshake": (engine["data_parallel_port"], seat.group.head_address)}
    # A TCPStore listens on every interface, whatever address it is given.
    return {"rendezvous": (engine["master_port"], "*")}


def lifeline(declaration: Declaration, seat: Seat) -> dict[str, Any] | None:
    """Return where the nodes of an engine tell each other which run of it is theirs; None where none waits for another.

    ``address`` and ``port`` are the first node's, ``head`` tells whether this is the one, ``peers`` names the set of all their addresses.
    The port is one of those that only peers reach and that the kernel draws from, kept back from it.
    """
    if seat.group.peers is None or declaration.values["engine"]["executor"] == "ray":
        return None
    return {
        "address": seat.group.head_address,
        "port": lifeline_port(declaration),
        "head": seat.node == 0,
        "peers": seat.group.peers,
    }


def lifeline_port(declaration: Declaration) -> int:
    """Return the last of the ports the kernel may draw from, all but that one left to it."""
    return PortRange.parse(str(declaration.values["engine"]["ephemeral_ports"])).high


def _replicas(declaration: Declaration, _seat: Seat) -> list[str]:
    return ["--tensor-parallel-size", str(declaration.values["engine"]["ranks_per_node"])]


def _tensor_parallel(declaration: Declaration, seat: Seat) -> list[str]:
    size = len(seat.group.members) * int(declaration.values["engine"]["ranks_per_node"])
    return ["--tensor-parallel-size", str(size), *_over_nodes(declaration, seat)]


def _pipeline_parallel(declaration: Declaration, seat: Seat) -> list[str]:
    words = ["--tensor-parallel-size", str(declaration.values["engine"]["ranks_per_node"])]
    words += ["--pipeline-parallel-size", str(len(seat.group.members))]
    return [*words, *_over_nodes(declaration, seat)]


def _over_nodes(declaration: Declaration, seat: Seat) -> list[str]:
    engine, nodes = declaration.values["engine"], len(seat.group.members)
    if nodes == 1:
        return []
    if engine["executor"] == "ray":
        return ["--distributed-executor-backend", "ray"]
    words = ["--nnodes", str(nodes), "--node-rank", str(seat.node)]
    words += ["--master-addr", seat.group.head_address, "--master-port", str(engine["master_port"])]
    return words if seat.head else [*words, "--headless"]


def _data_parallel(declaration: Declaration, seat: Seat) -> list[str]:
    engine = declaration.values["engine"]
    words = ["--data-parallel-size", str(data_parallel_ranks(declaration, seat.group))]
    words += [*_RANKS[engine["load_balancing"]](seat), "--data-parallel-address", seat.group.head_address]
    words += ["--data-parallel-rpc-port", str(engine["data_parallel_port"])]
    if engine["accelerators_per_rank"] > 1:
        words += ["--tensor-parallel-size", str(engine["accelerators_per_rank"])]
    if engine["executor"] == "ray":
        words += ["--data-parallel-backend", "ray"]
    return words


def _internal(seat: Seat) -> list[str]:
    words = ["--data-parallel-size-local", str(seat.ranks)]
    return words if seat.head else [*words, "--headless", "--data-parallel-start-rank", str(seat.first_rank)]


def _hybrid(seat: Seat) -> list[str]:
    start = ["--data-parallel-start-rank", str(seat.first_rank)]
    return ["--data-parallel-size-local", str(seat.ranks), "--data-parallel-hybrid-lb", *start]


def _external(seat: Seat) -> list[str]:
    return ["--data-parallel-rank", str(seat.first_rank)]


_RANKS: dict[str, Callable[[Seat], list[str]]] = {"internal": _internal, "hybrid": _hybrid, "external": _external}
_ARGUMENTS: dict[str, Callable[[Declaration, Seat], list[str]]] = {
    "replicas": _replicas,
    "tensor_parallel": _tensor_parallel,
    "pipeline_parallel": _pipeline_parallel,
    "data_parallel": _data_parallel,
}
