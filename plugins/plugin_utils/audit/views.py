# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what a run collected to what the checks see: one view for each host."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from .evidence import Evidence
from .view import OUTSIDE, View


def views(
    evidence: Evidence, plans: Mapping[str, Mapping[str, Any]], secrets: Mapping[str, str], today: datetime.date
) -> list[View]:
    """Return a view of every host that was looked at, should have been, or is planned; sorted by name."""
    planned = {name: plan for plan in plans.values() for name in plan["hosts"]}
    names = {*planned, *evidence["hosts"]}
    names |= {row["host"] for seen in evidence["reach"] for row in seen["reached"]}
    names |= {answer["host"] for routes in evidence["routes"] for answer in routes["answers"]}
    names |= {one["host"] for one in evidence["missing"] if one["part"] in ("host", "plan")}
    return [_view(name, evidence, planned.get(name), secrets, today) for name in sorted(names)]


def _view(
    name: str, evidence: Evidence, plan: Mapping[str, Any] | None, secrets: Mapping[str, str], today: datetime.date
) -> View:
    reasons = {one["part"]: one["reason"] for one in evidence["missing"] if one["host"] == name}
    elsewhere = [f"{one['host']}: {one['reason']}" for one in evidence["missing"] if one["part"] in ("reach", "routes")]
    return View(
        name,
        today,
        plan,
        plan["hosts"][name] if plan is not None else None,
        evidence["hosts"].get(name),
        reasons.get("host", "no evidence was collected on the host"),
        [(seen, row) for seen in evidence["reach"] for row in seen["reached"] if row["host"] == name],
        [(seen, one) for seen in evidence["routes"] for one in seen["endpoints"] if one["host"] == name],
        [(seen, one) for seen in evidence["routes"] for one in seen["answers"] if one["host"] == name],
        _unrouted(name, evidence, plan),
        f"nobody looked at the host from elsewhere{': ' + '; '.join(elsewhere) if elsewhere else ''}",
        reasons.get("plan", "") if plan is None else "",
        secrets,
    )


def _unrouted(name: str, evidence: Evidence, plan: Mapping[str, Any] | None) -> list[str]:
    own = set((evidence["hosts"][name]["addresses"] or {}) if name in evidence["hosts"] else ())
    if plan is not None:
        own |= {address for pair in plan["hosts"][name]["addresses"].values() for address in pair.values()}
    facts = {f"reached:{address}" for address in own}
    return [
        f"{seen['observer']} ({seen['standing']})"
        for seen in evidence["reach"]
        # Who reached nobody at all, not even to be refused, has no network and proves nothing.
        if seen["standing"] in OUTSIDE
        and seen["reached"]
        and any(one["fact"] in facts and "no route" in one["reason"] for one in seen["unknown"])
    ]
