# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reachability matrix as it was found: for each socket of a host, who found it open and who should."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .evidence import Reached, ReachEvidence
from .ranges import common_ports, in_ports
from .view import View, untried

OPEN, CLOSED, UNTRIED, UNKNOWN = "open", "closed", "not tried", "not looked at"


def matrix(view: View) -> Iterator[dict[str, Any]]:
    """Yield a row for each planned listener, and for each other port somebody found open.

    A row has ``host``, ``name``, ``protocol``, ``ports``, ``control`` and ``cells``: place to ``{"is": open, closed, not tried or not looked
    at, "should": open, closed or empty where nobody planned it}``.
    """
    places = list(dict.fromkeys(seen["observer"] for seen, _row in view.reach))
    listeners = list(view.listeners())
    for listener in listeners:
        yield _row(
            view, places, str(listener["name"]), listener["protocol"], listener["ports"], listener["control"], listener
        )
    strange: dict[tuple[str, int], None] = {}
    for _seen, row in view.reach:
        for port in row["open"]:
            if not any(one["protocol"] == row["protocol"] and in_ports(port, one["ports"]) for one in listeners):
                strange[(row["protocol"], port)] = None
    for protocol, port in sorted(strange):
        yield _row(
            view, places, "not planned" if view.part is not None else "found", protocol, str(port), "NET-01", None
        )


def _row(
    view: View,
    places: list[str],
    name: str,
    protocol: str,
    ports: str,
    control: str,
    listener: Mapping[str, Any] | None,
) -> dict[str, Any]:
    cells = {}
    for place in places:
        rows = [(seen, row) for seen, row in view.reach if seen["observer"] == place and row["protocol"] == protocol]
        states = {_state(seen, row, ports) for seen, row in rows}
        found = next((state for state in (OPEN, UNTRIED, CLOSED) if state in states), UNKNOWN)
        cells[place] = {"is": found, "should": _should(view, listener, rows)}
    return {"host": view.name, "name": name, "protocol": protocol, "ports": ports, "control": control, "cells": cells}


def _state(seen: ReachEvidence, row: Reached, ports: str) -> str:
    if any(in_ports(port, ports) for port in row["open"]):
        return OPEN
    return UNTRIED if common_ports(ports, untried(seen, row)) else CLOSED


def _should(view: View, listener: Mapping[str, Any] | None, rows: list[tuple[ReachEvidence, Reached]]) -> str:
    if view.part is None:
        return ""
    allowed = listener is not None and any(
        view.may_reach(listener, source, row["address"]) for seen, row in rows for source in seen["sources"]
    )
    return OPEN if allowed else CLOSED
