# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The result as SARIF 2.1.0: what failed, passed and could not be checked, each with its kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...audit.controls import controls
from ...problems import Severity
from .. import sarif

_STATES = {"new": "new", "still there": "unchanged"}
_KINDS = {"passed": "pass", "not checked": "open", "not applicable": "notApplicable"}


def render(result: Mapping[str, Any]) -> str:
    """Return a SARIF log; hosts are logical locations, waivers are suppressions."""
    ids = sorted({*(one["control"] for one in result["findings"]), *(one["control"] for one in result["outcomes"])})
    rules = [
        sarif.rule(name, controls()[name].title, "controls.md", f"{controls()[name].title}. {controls()[name].remedy}")
        for name in ids
    ]
    waivers = result["waivers"]
    found = [_finding(one, ids.index(one["control"]), waivers) for one in result["findings"]]
    rest = [_outcome(one, ids.index(one["control"])) for one in result["outcomes"] if one["outcome"] in _KINDS]
    gone = [
        _finding({**one, "state": ""}, ids.index(one["control"]), ()) for one in result["gone"] if one["control"] in ids
    ]
    return sarif.document(rules, [*found, *rest, *({**one, "baselineState": "absent"} for one in gone)])


def _location(host: str, place: str) -> list[dict[str, Any]]:
    name = f"{host}/{place}" if place else host
    return [{"logicalLocations": [{"name": place or host, "fullyQualifiedName": name, "kind": "resource"}]}]


def _finding(one: Mapping[str, Any], index: int, waivers: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ruleId": one["control"],
        "ruleIndex": index,
        "kind": "fail",
        "level": sarif.LEVELS[Severity.parse(one["severity"])],
        "message": {"text": f"{one['host']}: {one['message']}"},
        "locations": _location(one["host"], one["place"]),
        "partialFingerprints": {"hardenedVllm/v1": one["id"]},
        "properties": {
            "host": one["host"],
            "rule": one["rule"],
            "remedy": one["remedy"],
            "evidence": list(one["evidence"]),
        },
    }
    if one["state"]:
        found["baselineState"] = _STATES[one["state"]]
    if one["waived"]:
        mine = [
            waiver
            for waiver in waivers
            if waiver["rule"] in (one["control"], one["rule"]) and waiver["state"] == "used"
        ]
        reason = mine[0]["reason"] if mine else "waived"
        found["suppressions"] = [{"kind": "external", "status": "accepted", "justification": reason}]
    return found


def _outcome(one: Mapping[str, Any], index: int) -> dict[str, Any]:
    return {
        "ruleId": one["control"],
        "ruleIndex": index,
        "kind": _KINDS[one["outcome"]],
        "level": "none",
        "message": {"text": "; ".join([f"{one['host']}: {one['outcome']}", *one["why"], *one["looked_at"]])},
        "locations": _location(one["host"], ""),
    }
