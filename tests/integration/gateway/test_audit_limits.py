# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The audit tries whether limits bite (audit_try_limits): a gateway without them is found out, one as the role makes it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import proxies
import pytest
from ansible_collections.hardened.vllm.plugins.modules import audit_routes
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit import questions, requests
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.asked import judged
from support import audit

from .conftest import Door, Recorder, Start

FAILED = 30
NAME = "tenants/last/k"
SLOW = {"requests_per_second": 10, "burst": 5}


def unlimited(directory: Path) -> None:
    """Take the limit for wrong keys out of the configuration, as a hand would that wanted fewer refusals."""
    without(directory / "locations.conf", "zone=failed_keys")


def without(file: Path, text: str) -> None:
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if text not in line]
    assert len(kept) == len(lines) - 1
    file.write_text("".join(kept), encoding="utf-8")


def no_rate(directory: Path) -> None:
    """Take the tenants' rate out of it."""
    file = directory / "limits.conf"
    text = file.read_text(encoding="utf-8")
    kept = [line for line in text.splitlines(keepends=True) if not line.startswith("limit_req zone=rate_")]
    assert len(kept) < len(text.splitlines())
    file.write_text("".join(kept), encoding="utf-8")


def asked(door: Door, limits: bool, key: str | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Ask the gateway what the audit asks; return the plan and the answers."""
    made = audit.plan()
    gateway = proxies.gateway_part(door.proxy.port, 1, last=SLOW, limits={"failed_keys_per_minute": FAILED})
    made["hosts"]["gateway1"]["gateway"] = gateway
    asks = questions.asks("outsider", {}, {"chat": made}, key=key, limits=limits)
    # Of everything it asks with wrong keys, what it asks to try the limits; the rest alone would use them up.
    asks["requests"] = {
        name: [one for one in some if one["form"] == "burst"] for name, some in asks["requests"].items()
    }
    endpoints = [{"tls": "auto", **one} for one in asks["endpoints"]]
    keys = {} if key is None else {key: proxies.KEY}
    place = {"observer": "outsider", "standing": "observer", "authority": "", "keys": keys}
    pace = {"at_once": 8, "rate": requests.RATE, "timeout": 5, "limit": 120}
    return made, audit_routes.collect({**place, **pace, "endpoints": endpoints, "requests": asks["requests"]})


def outcome(made: dict[str, Any], seen: dict[str, Any]) -> tuple[str, list[str]]:
    """Return how the control of limits ends at the gateway, and what is said about it."""
    evidence = {"format": 1, "taken": audit.TAKEN, "hosts": {}, "reach": [], "routes": [seen], "missing": []}
    result = judged(evidence, {"chat": made}, [], {}, audit.TODAY)
    told = next(one for one in result["outcomes"] if (one["control"], one["host"]) == ("GW-08", "gateway1"))
    found = [one["found"] for one in result["findings"] if one["control"] == "GW-08"]
    return told["outcome"], [*found, *told["why"], *told["looked_at"]]


UNTRIED = "no tenant's rate was tried: that takes audit_try_limits and audit_tenant_key"


@pytest.mark.parametrize(
    ("change", "wanted", "says"),
    [
        (unlimited, "failed", [f"{FAILED + requests.BURST} requests and no 429", UNTRIED]),
        (None, "not checked", [UNTRIED, "burst, key wrong"]),
    ],
)
def test_whether_limits_bite(start: Start, recorder: Recorder, change: Any, wanted: str, says: list[str]) -> None:
    door = start({"change": change}, last=SLOW, limits={"failed_keys_per_minute": FAILED})
    made, seen = asked(door, True)
    assert outcome(made, seen) == (wanted, says)
    # Bounded, and nothing of it reaches an engine.
    assert len(seen["answers"]) == FAILED + requests.BURST
    assert {one["status"] for one in seen["answers"]} == ({401} if wanted == "failed" else {401, 429})
    assert recorder.seen() == []


@pytest.mark.parametrize(("change", "wanted"), [(no_rate, "failed"), (None, "passed")])
def test_whether_the_rate_of_a_tenant_bites(start: Start, recorder: Recorder, change: Any, wanted: str) -> None:
    door = start({"change": change}, last=SLOW, limits={"failed_keys_per_minute": FAILED})
    made, seen = asked(door, True, NAME)
    number = requests.burst_of_tenant(made["hosts"]["gateway1"]["gateway"], NAME)
    assert number is not None and number <= SLOW["burst"] + 2 * requests.BURST
    told, says = outcome(made, seen)
    assert told == wanted
    assert (f"{number} requests and no 429" if wanted == "failed" else f"burst, key {NAME}") in says
    # Bounded: a list of models is all an engine is asked for.
    assert {one["head"].splitlines()[0] for one in recorder.seen()} == {"GET /v1/models HTTP/1.1"}
    assert len(recorder.seen()) <= number


def test_limits_are_tried_only_when_that_is_asked_for(start: Start) -> None:
    made, seen = asked(start(last=SLOW, limits={"failed_keys_per_minute": FAILED}), False)
    assert seen["answers"] == []
    untried = "limits are tried only when that is asked for (audit_try_limits)"
    assert outcome(made, seen) == ("not checked", [untried, UNTRIED])
