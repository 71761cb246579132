# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Puts what the modules returned on all hosts together as one document of evidence, with what is missing and why."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from .evidence import FORMAT, Evidence, HostEvidence, Missing, ReachEvidence, RoutesEvidence
from .shape import first_fault

_TIME = "%Y-%m-%dT%H:%M:%SZ"
_SHAPES: dict[str, Any] = {"host": HostEvidence, "reach": ReachEvidence, "routes": RoutesEvidence}


def gathered(
    looks: Mapping[str, Mapping[str, Any]],
    reaches: Mapping[str, Mapping[str, Any]],
    answers: Mapping[str, Mapping[str, Any]],
    now: datetime.datetime,
) -> Evidence:
    """Return the evidence from the results the three modules registered, each by inventory name.

    A result that is empty or was skipped asked for nothing; one without ``evidence`` is missing, with what it said. So is one that is not
    as the module returns it: a host that is somebody else's by now shall not end the audit of the others.
    """
    missing: list[Missing] = []
    found: dict[str, dict[str, Any]] = {"host": {}, "reach": {}, "routes": {}}
    for part, results in (("host", looks), ("reach", reaches), ("routes", answers)):
        for host, result in sorted(results.items()):
            fault = first_fault(result["evidence"], _SHAPES[part], "the evidence") if "evidence" in result else None
            if fault is not None:
                missing.append({"host": host, "part": part, "reason": f"{fault}: it is not as the module returns it"})
            elif "evidence" in result:
                found[part][host] = result["evidence"]
            elif result and not result.get("skipped", False):
                reason = str(result.get("msg") or "the host gave no answer").strip().splitlines()[0]
                missing.append({"host": host, "part": part, "reason": reason})
    return {
        "format": FORMAT,
        "taken": now.astimezone(datetime.UTC).strftime(_TIME),
        "hosts": found["host"],
        "reach": list(found["reach"].values()),
        "routes": list(found["routes"].values()),
        "missing": missing,
    }
