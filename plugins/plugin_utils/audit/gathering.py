# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Puts what the modules returned on all hosts together as one document of evidence, with what is missing and why."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from .evidence import FORMAT, Evidence, Missing

_TIME = "%Y-%m-%dT%H:%M:%SZ"


def gathered(
    looks: Mapping[str, Mapping[str, Any]],
    reaches: Mapping[str, Mapping[str, Any]],
    answers: Mapping[str, Mapping[str, Any]],
    now: datetime.datetime,
) -> Evidence:
    """Return the evidence from the results the three modules registered, each by inventory name.

    A result that is empty or was skipped asked for nothing; one without ``evidence`` is missing, with what it said.
    """
    missing: list[Missing] = []
    found: dict[str, dict[str, Any]] = {"host": {}, "reach": {}, "routes": {}}
    for part, results in (("host", looks), ("reach", reaches), ("routes", answers)):
        for host, result in sorted(results.items()):
            if "evidence" in result:
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
