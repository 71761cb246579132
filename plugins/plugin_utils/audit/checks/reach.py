# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is open to whom, seen from other places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ... import catalogue
from ...problems import Severity
from ..controls import controls
from ..evidence import Reached, ReachEvidence
from ..ranges import common_ports, in_ports
from ..view import (
    MEMBERS,
    OUTSIDE,
    Absent,
    Looked,
    Said,
    Unchecked,
    View,
    untried,
    why_untried,
)
from .behind import behind

# Programs behind these listen from their start to their end; the others come and go with the engine's work.
LASTING = ("api", "https", "monitor", "media", "ssh")


def _allowed(view: View, listener: Mapping[str, Any], seen: ReachEvidence, row: Reached) -> bool:
    return any(view.may_reach(listener, source, row["address"]) for source in seen["sources"])


def _who(seen: ReachEvidence) -> str:
    return f"{seen['observer']} ({seen['standing']})"


def _lasting(listener: Mapping[str, Any]) -> bool:
    return str(listener["name"]).rstrip("-0123456789") in LASTING


def planned_ports(view: View) -> Iterator[Said]:
    """Judge whether what a place may reach has to answer it there."""
    for listener in view.listeners():
        if not _lasting(listener):
            yield Absent("its sockets come and go, so an unanswered one says nothing", listener["control"])
            continue
        port, asked = int(listener["ports"]), False
        for seen, row in view.reach:
            bound = listener["bind"] in ("*", row["address"])
            if row["protocol"] != listener["protocol"] or not bound or not _allowed(view, listener, seen, row):
                continue
            asked = True
            where = f"{row['protocol']} {port} of {row['address']} from {_who(seen)}"
            if port in row["open"]:
                yield Looked(listener["control"], where)
            elif in_ports(port, untried(seen, row)):
                yield Unchecked(f"{where} was not tried: {why_untried(row)}", listener["control"])
            else:
                silent = "silence" if in_ports(port, row["filtered"]) else "a refusal"
                yield view.finding(
                    listener["control"],
                    f"{listener['name']} at {row['address']}, {_who(seen)}",
                    silent,
                    f"an answer on {row['protocol']} {port}, which the plan opens to {', '.join(listener['from'])}",
                    severity=Severity.WARNING,
                    remedy=f"See whether the service of {listener['name']} runs, then run the site playbook again.",
                    evidence=[f"{where}: {silent}"],
                )
        if listener["name"] == "ssh" and view.evidence is not None:
            yield Looked(listener["control"], "an operator logged in and looked at the host")
        elif not asked:
            yield Unchecked(f"nobody {listener['name']} is open to looked at it", listener["control"])


def unplanned_ports(view: View) -> Iterator[Said]:
    """Judge whether what a place may not reach has to be closed to it."""
    if view.part is None:
        yield Absent("no plan says what should be closed")
        return
    listeners = list(view.listeners())
    mine = {listener["control"] for listener in listeners} | {"NET-01"}
    for known in controls().values():
        if unplanned_ports.__name__ in known.checks and known.id not in mine:
            yield Absent("no listener of it is planned here", known.id)
    if not view.reach:
        for control in sorted(mine):
            yield Unchecked(view.outside_missing, control)
    for seen, row in view.reach:
        here = f"{row['address']} from {_who(seen)}"
        same = [listener for listener in listeners if listener["protocol"] == row["protocol"]]
        open_to_it = [listener for listener in same if _allowed(view, listener, seen, row)]
        ssh = [listener for listener in same if listener["name"] == "ssh" and seen["standing"] == "controller"]
        for port in row["open"]:
            if any(in_ports(port, listener["ports"]) for listener in [*open_to_it, *ssh]):
                continue
            planned = [listener for listener in same if in_ports(port, listener["ports"])]
            others = ", ".join(name for listener in planned for name in listener["from"])
            yield view.finding(
                planned[0]["control"] if planned else "NET-01",
                f"{row['protocol']} {port} at {row['address']}, {_who(seen)}",
                f"{row['protocol']} {port} open",
                f"it closed to {_who(seen)}" + (f"; the plan opens it to {others} only" if planned else ""),
                evidence=[f"{row['protocol']} {port} of {here} accepted a connection"],
            )
        for listener in same:
            if listener not in open_to_it and listener not in ssh:
                yield from _closed(listener["control"], listener["ports"], seen, row)
        if row["protocol"] == "tcp":
            yield from _closed("NET-01", "1-65535", seen, row)


def _closed(control: str, ports: str, seen: ReachEvidence, row: Reached) -> Iterator[Said]:
    here = f"{row['address']} from {_who(seen)}"
    if common_ports(ports, untried(seen, row)):
        yield Unchecked(f"not every port of {here} was tried: {why_untried(row)}", control)
    elif not any(in_ports(port, ports) for port in row["open"]) or control == "NET-01":
        # What is open and should not be is a finding of its own.
        likely = "likely ones of " if seen["standing"] in MEMBERS and "-" in ports else ""
        yield Looked(control, f"{row['protocol']} {likely}{ports} of {here}")


def exposed_sockets(view: View) -> Iterator[Said]:
    """Judge whether outsiders reach sockets of vLLM, Ray and connectors on a host nobody planned."""
    if view.part is not None:
        yield Absent("the plan says what is open to whom: NET-01 to NET-03 judge it")
        return
    outside = [(seen, row) for seen, row in view.reach if seen["standing"] in OUTSIDE and row["protocol"] == "tcp"]
    if not outside:
        yield Unchecked(view.outside_missing)
    ports = {port: name for name, port in catalogue.default_ports().items()}
    ports |= {6379: "Ray's store", 8265: "Ray's dashboard", 10001: "Ray's client server", 52365: "Ray's agent"}
    for seen, row in outside:
        if untried(seen, row):
            yield Unchecked(f"not every port of {row['address']} was tried: {why_untried(row)}")
        else:
            yield Looked("OUT-03", f"all ports of {row['address']} from {_who(seen)}")
        for port in row["open"]:
            owner = _owner(view, row["address"], port)
            if owner is None and (port not in ports or _known(view)):
                continue
            what = f"a socket of {owner['kind']}" if owner is not None else f"what {ports[port]} is by default"
            inside = f", which leads into container {owner['container'][:12]}" if owner and owner["container"] else ""
            yield view.finding(
                "OUT-03",
                f"tcp {port} at {row['address']}, {_who(seen)}",
                f"tcp {port} open, {what}",
                "it closed to everybody but the gateway or the members of its engine",
                severity=Severity.ERROR if owner is not None else Severity.WARNING,
                evidence=[f"tcp {port} of {row['address']} accepted a connection from {_who(seen)}{inside}"],
            )


def _known(view: View) -> bool:
    return view.lacks("listeners") is None


def _owner(view: View, address: str, port: int) -> Mapping[str, Any] | None:
    """Return the process of vLLM, Ray or a connector that answers on ``port``; it may be in a container."""
    owners = behind(view.evidence, address, port) if view.evidence is not None else []
    return next((owner for owner in owners if owner["kind"] is not None), None)
