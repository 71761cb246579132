# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order the engines of a cluster change, and what is out of service meanwhile."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypedDict

BY_CHANGE = "change"


class Look(TypedDict):
    """What was seen of one engine before anything changed, all its nodes together.

    ``restart``: it has to restart to be as declared. ``serves``: it gave a token. ``likelihood``: how it judged the
    text for comparisons, empty when it could not. ``start_seconds``: its last start up to the first token, 0 if unknown.
    """

    restart: bool
    serves: bool
    likelihood: list[float]
    start_seconds: float


class Step(TypedDict):
    """The change of one engine. ``drain`` and ``readmit`` name upstreams of the gateways; ``alone``: nobody serves in its place.

    ``processes``: by node, the ``name`` of the engine's process there and its ``api`` (address and port or socket, None without one).
    """

    engine: str
    members: list[str]
    processes: dict[str, dict[str, Any]]
    restart: bool
    drain: list[str]
    readmit: list[str]
    alone: bool
    expected: list[float]
    ready_seconds: int


class Change(TypedDict):
    """The change of a cluster. ``away``: for whom service is away and how long, empty when for nobody.

    ``left_out``: the engines that stay as they are. ``silence``: their upstreams, of which no gateway may ask anything meanwhile, because
    what they serve is no longer what is declared. ``notice`` says so, empty when nothing is left out.
    """

    steps: list[Step]
    away: str
    left_out: list[str]
    silence: list[str]
    notice: str


def change(
    hosts: Mapping[str, Mapping[str, Any]],
    drained: Mapping[str, str],
    drain_seconds: int,
    spared: Collection[str] = (),
) -> Change:
    """Plan the change of the cluster whose nodes and gateways are ``hosts``.

    Each host is ``{"plan": {cluster, host}, "looks": {engine: what was seen there}}``; ``drained`` says who drained an upstream. An engine
    with a node in ``spared`` (in quarantine, or left out by name) is left out as a whole: it gets neither release nor keys.
    Raises ValueError when the hosts are of no cluster, of several, not all of one, or when no engine is left.
    """
    clusters = sorted({host["plan"]["cluster"]["cluster"] for host in hosts.values()})
    if len(clusters) != 1:
        raise ValueError(
            f"one cluster changes at a time, found {', '.join(clusters) or 'none'}; choose one with --limit"
        )
    parts = {name: host["plan"]["host"] for name, host in hosts.items()}
    members: Mapping[str, Sequence[str]] = next(iter(hosts.values()))["plan"]["cluster"]["members"]
    missing = sorted({node for nodes in members.values() for node in nodes} - hosts.keys() - set(spared))
    missing += [] if any(part["gateway"] for part in parts.values()) else ["its gateways"]
    if missing:
        raise ValueError(
            f"the run does not reach all of the cluster, missing {', '.join(missing)}; run without --limit or name them too,"
            " and leave out what is dead with -e upgrade_without=NAME"
        )
    left_out = sorted(engine for engine, nodes in members.items() if set(nodes) & set(spared))
    if len(left_out) == len(members):
        raise ValueError(
            f"no engine is left to change: {', '.join(sorted(spared))} are in quarantine or left out by name"
        )
    seen: dict[str, list[Mapping[str, Any]]] = {}
    for host in hosts.values():
        for engine, look in host["looks"].items():
            if engine not in left_out:
                seen.setdefault(engine, []).append(look)
    looks = {engine: combine(parts_seen) for engine, parts_seen in seen.items()}
    found = steps(parts, members, looks, drained)
    behind = {name for gateway in _gateways(parts) for engine in left_out for name in gateway.get(engine, [])}
    return Change(
        steps=found,
        away=interruption(found, looks, drain_seconds),
        left_out=left_out,
        silence=sorted(behind - drained.keys()),
        notice=_notice(left_out, members, spared),
    )


def _notice(left_out: Sequence[str], members: Mapping[str, Sequence[str]], spared: Collection[str]) -> str:
    """Say which engines a change leaves out and how they come back."""
    lines = [
        f"Engine {engine} was left out because of {', '.join(node for node in members[engine] if node in spared)}: it keeps the release and"
        " the keys it has, and gets no requests."
        for engine in left_out
    ]
    if lines:
        lines.append(
            "When it is back (a quarantine: released), hardened.vllm.upgrade brings it to what is declared and sends it requests again;"
            " what an operator or a quarantine drained waits for hardened.vllm.drain -e drain_state=active."
        )
    return "\n".join(lines)


def combine(seen: Iterable[Mapping[str, Any]]) -> Look:
    """Combine what the nodes of one engine said: each ``{restart, serves, likelihood, start_seconds}``."""
    parts = list(seen)
    return Look(
        restart=any(bool(part["restart"]) for part in parts),
        serves=bool(parts) and all(bool(part["serves"]) for part in parts),
        likelihood=next((list(part["likelihood"]) for part in parts if part["likelihood"]), []),
        start_seconds=max((float(part["start_seconds"]) for part in parts), default=0.0),
    )


def steps(
    hosts: Mapping[str, Mapping[str, Any]],
    members: Mapping[str, Sequence[str]],
    looks: Mapping[str, Look],
    drained: Mapping[str, str],
) -> list[Step]:
    """Return the steps in their order: engines that serve nobody first, so that a bad change shows where it costs least.

    ``hosts`` holds each host's part of the plan, ``members`` and ``looks`` an engine's nodes and what was seen of it (an engine nobody looked at has
    no step), ``drained`` who drained an upstream: what an operator took out of service stays out, what an interrupted change did comes back.
    """
    engines = {name: part for name, part in _engines(hosts).items() if name in looks}
    gateways = _gateways(hosts)
    kept_out = {name for name, by in drained.items() if by != BY_CHANGE}
    found = []
    for name, part in engines.items():
        look = looks[name]
        known = list(dict.fromkeys(upstream for gateway in gateways for upstream in gateway.get(name, [])))
        own = [upstream for upstream in known if upstream not in kept_out]
        # Where engines serve on sockets each gateway has its own.
        others = all(
            any(looks[other]["serves"] and set(gateway.get(other, [])) - kept_out for other in engines if other != name)
            for gateway in gateways
            if name in gateway
        )
        reached = bool(own) or not known
        found.append(
            Step(
                engine=name,
                members=list(members[name]),
                processes=_processes(hosts, name),
                restart=look["restart"],
                drain=own if look["restart"] else [],
                readmit=own if look["restart"] else [upstream for upstream in own if upstream in drained],
                # Without upstreams of its own its requests come by a router this collection does not manage.
                alone=look["restart"] and look["serves"] and reached and not (own and others),
                expected=look["likelihood"] or _of_another(looks, name),
                ready_seconds=int(part["ready"]["timeout_seconds"]),
            )
        )
    return sorted(found, key=lambda step: looks[step["engine"]]["serves"] and bool(set(step["drain"]) - drained.keys()))


def _engines(hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return a process of each engine, by the engine's name."""
    found: dict[str, Mapping[str, Any]] = {}
    for _name, host in sorted(hosts.items()):
        for process in host["engines"]:
            found.setdefault(process["group_name"], process)
    return dict(sorted(found.items()))


def _processes(hosts: Mapping[str, Mapping[str, Any]], engine: str) -> dict[str, dict[str, Any]]:
    """Return what of each node's process of an engine a step needs."""
    return {
        node: {"name": process["name"], "api": process["api"]}
        for node, host in sorted(hosts.items())
        for process in host["engines"]
        if process["group_name"] == engine
    }


def _gateways(hosts: Mapping[str, Mapping[str, Any]]) -> list[dict[str, list[str]]]:
    """Return for each gateway the names of each engine's upstreams, by the engine's name."""
    found = []
    for _name, host in sorted(hosts.items()):
        if host["gateway"] is None:
            continue
        upstreams: dict[str, list[str]] = {}
        for upstream in host["gateway"]["upstreams"]:
            if upstream["engine"] is not None:
                upstreams.setdefault(upstream["engine"], []).append(upstream["name"])
        found.append(upstreams)
    return found


def _of_another(looks: Mapping[str, Look], name: str) -> list[float]:
    """Return the judgement of another engine: all engines of a cluster serve the same model."""
    return next(
        (look["likelihood"] for other, look in sorted(looks.items()) if other != name and look["likelihood"]), []
    )


def interruption(found: Iterable[Step], looks: Mapping[str, Look], drain_seconds: int) -> str:
    """Say for which engines service will be away and how long, empty when it never is."""
    lines = []
    for step in found:
        if not step["alone"]:
            continue
        seconds = looks[step["engine"]]["start_seconds"]
        last = f"its last start took {seconds:.0f} s" if seconds else "how long its start takes is not known here"
        lines.append(
            f"Engine {step['engine']} has no other that serves in its place. Its clients get no answer from the moment it is"
            f" drained (requests under way may take up to {drain_seconds} s) until it has started again"
            f" ({last}; {step['ready_seconds']} s at most, and as long again if the former state has to come back)."
        )
    return "\n".join(lines)


class Verdict(TypedDict):
    """``serves``: the engine may have requests again. ``message``: why the change stops here, empty when it goes on."""

    serves: bool
    message: str


def verdict(engine: str, states: Mapping[str, Mapping[str, Any] | None], order: Sequence[str]) -> Verdict:
    """Judge one engine after its step.

    ``states`` holds ``{engine, serves, failure}`` by node, None for a node that was lost; ``order`` names the engines of
    all steps.
    """
    problems: dict[str, list[str]] = {}
    serves = True
    for node, state in states.items():
        if state is None or state["engine"] != engine:
            serves = False
            problems.setdefault("the node was lost on the way", []).append(node)
        else:
            serves = serves and bool(state["serves"])
            if state["failure"]:
                problems.setdefault(str(state["failure"]).strip(), []).append(node)
    if not problems:
        return Verdict(serves=serves, message="")
    place = order.index(engine)
    lines = [f"Stopped at engine {engine}."]
    lines += [f"{', '.join(nodes)}: {problem}" for problem, nodes in problems.items()]
    lines.append(
        f"Engine {engine} takes requests as before."
        if serves
        else f"Engine {engine} gets no requests until a later run finds it serving."
    )
    done, left = order[:place], order[place + 1 :]
    lines.append(f"Changed and serving: {', '.join(done) or 'none'}. Not touched: {', '.join(left) or 'none'}.")
    lines.append("Mend what is named and run again, which goes on from here, or go back with hardened.vllm.rollback.")
    return Verdict(serves=serves, message="\n".join(lines))
