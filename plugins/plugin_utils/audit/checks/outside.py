# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What servers answer to those outside, planned or not."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from ... import catalogue
from ...problems import Severity
from ..evidence import Answer, RoutesEvidence
from ..view import OUTSIDE, Looked, Said, Unchecked, View, untried, why_untried
from .routes import at_door, at_monitor, grouped

# Bodies of vLLM's own refusals.
ENGINE_SAYS = ("detail", "error")


def bare_server(view: View) -> Iterator[Said]:
    """Judge whether vLLM's own server answers nobody but gateways."""
    asked = [
        (seen, answer)
        for seen, answer in view.answers
        if answer["status"] is not None
        and not at_door(view, answer["address"], answer["port"])
        and not at_monitor(view, answer)
        and seen["standing"] != "gateway"
    ]
    bad = [
        (f"port {answer['port']} at {answer['address']}, {seen['observer']} ({seen['standing']})", seen, answer)
        for seen, answer in asked
        if "uvicorn" in answer["headers"].get("server", "").lower()
    ]
    yield from grouped(view, "OUT-01", bad, "no answer but from a gateway", None)
    yield from everything_asked(view, "OUT-01")


def keyless_routes(view: View) -> Iterator[Said]:
    """Judge whether routes of vLLM run without a key anywhere but at the planned gateway, which has checks of its own."""
    bad: dict[Severity, list[tuple[str, RoutesEvidence, Answer]]] = {}
    for seen, answer in view.answers:
        ours = view.part is not None and seen["standing"] in ("gateway", "monitor", "peer")
        if ours or at_door(view, answer["address"], answer["port"]) or answer["key"] not in ("none", "wrong"):
            continue
        open_one = _opened(answer)
        if open_one is not None:
            method, severity = open_one
            place = f"{method} {answer['path']} at {answer['address']} port {answer['port']}"
            bad.setdefault(severity, []).append((place, seen, answer))
    for severity, answers in sorted(bad.items(), reverse=True):
        yield from grouped(view, "OUT-02", answers, "401, or no answer at all", severity)
    yield from everything_asked(view, "OUT-02")


def _opened(answer: Answer) -> tuple[str, Severity] | None:
    """Return the method and the severity of the route that ran, or would have with its own method; None when none did."""
    routes = _routes().get(answer["path"])
    if routes is None or answer["status"] is None:
        return None
    worst = max(routes, key=lambda route: Severity.parse(route.severity))
    allowed = {word.strip().upper() for word in answer["headers"].get("allow", "").split(",")}
    if 200 <= answer["status"] < 300:
        # /v1/models?/../../x is /v1/models, whatever the audit calls it.
        another = answer["form"] != "plain" and answer["body"] == "models" and answer["path"] != "/v1/models"
        return None if another else (answer["method"], Severity.parse(worst.severity))
    # The engine has read the request when it finds fault with its body.
    if answer["status"] in (400, 415, 422) and (answer["form"] == "plain" or answer["body"] in ENGINE_SAYS):
        return answer["method"], Severity.parse(worst.severity)
    # What acts is asked by a method it does not have. vLLM asks for the key first, so this is past it; only whoever knows the
    # route names its method, or says so in the words of vLLM's framework.
    acting = [route for route in routes if route.method != answer["method"]]
    if answer["status"] == 405 and acting:
        known = next((route for route in acting if route.method in allowed), None)
        if known is not None or (answer["body"] == "detail" and not allowed - {""}):
            told = known or acting[0]
            return told.method, Severity.parse(told.severity)
    return None


@functools.cache
def _routes() -> dict[str, list[catalogue.Route]]:
    found: dict[str, list[catalogue.Route]] = {}
    for route in catalogue.routes():
        found.setdefault(route.path, []).append(route)
    return found


def everything_asked(view: View, control: str) -> Iterator[Said]:
    """Say whether outsiders tried every port, and asked each that is open what is there."""
    looked = [(seen, row) for seen, row in view.reach if seen["standing"] in OUTSIDE and row["protocol"] == "tcp"]
    ssh = {int(listener["ports"]) for listener in view.listeners() if listener["name"] == "ssh"} or {22}
    asked = {(answer["address"], answer["port"]) for _seen, answer in view.answers}
    found = {(row["address"], port) for _seen, row in looked for port in row["open"] if port not in ssh}
    for place in view.unrouted:
        yield Looked(control, f"no route leads there from {place}")
    if not looked and not view.unrouted:
        yield Unchecked(view.outside_missing)
        return
    for seen, row in looked:
        if untried(seen, row):
            yield Unchecked(f"not every port of {row['address']} was tried: {why_untried(row)}")
    for address, port in sorted(found - asked):
        yield Unchecked(f"tcp {port} of {address} is open, and nobody asked what is there")
    yield Looked(control, f"{len(found & asked)} open ports were asked, {len(view.answers)} answers")
