# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a planned gateway answers, with and without keys, plainly and in disguise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...problems import Severity
from ..evidence import Answer, RoutesEvidence
from ..requests import BURST_FORM, FOREIGN_ORIGIN, MOST_OF_A_BURST, burst_of_failures, burst_of_tenant
from ..view import Absent, Looked, Said, Unchecked, View

NO_KEY = ("none", "wrong", "expired")
# What the gateway says to what it does not pass on; None is a connection it ends.
REFUSALS = frozenset({400, 401, 404, 405, 414, 421, 431, 501, 505})
SHOWN = 6


def at_door(view: View, address: str, port: int) -> bool:
    """Tell whether this is a socket of the planned gateway."""
    listen: Sequence[Mapping[str, Any]] = view.gateway["listen"] if view.gateway is not None else ()
    return any(socket["address"] == address and socket["port"] == port for socket in listen)


def at_monitor(view: View, answer: Answer) -> bool:
    """Tell whether this is an answer of the planned gateway to monitors."""
    monitor = view.gateway["monitor"] if view.gateway is not None else None
    return monitor is not None and any(
        socket["address"] == answer["address"] and socket["port"] == answer["port"] for socket in monitor["listen"]
    )


def _passed(view: View, answer: Answer) -> bool:
    routes: Sequence[Mapping[str, Any]] = view.gateway["routes"] if view.gateway is not None else ()
    return any(answer["path"] == route["path"] and answer["method"] in route["methods"] for route in routes)


def door_answers(view: View) -> list[tuple[RoutesEvidence, Answer]]:
    """Return what the planned gateway answered."""
    return [(seen, answer) for seen, answer in view.answers if at_door(view, answer["address"], answer["port"])]


def _slowed_down(answer: Answer) -> bool:
    """Tell whether the gateway refused a source that tried too many keys, which it says after the key only."""
    return answer["key"] in NO_KEY and answer["status"] == 429


def _burst(answer: Answer) -> bool:
    return answer["form"].startswith(BURST_FORM)


def line_of(seen: RoutesEvidence, answer: Answer) -> str:
    """Return a request and its answer as one line of evidence."""
    told = f"status {answer['status']}" if answer["status"] is not None else answer["error"] or "no answer"
    form = "" if answer["form"] == "plain" else f", disguise {answer['form']}"
    return f"{answer['method']} {answer['target']} from {seen['observer']}, key {answer['key']}{form}: {told}"


def grouped(
    view: View,
    control: str,
    bad: Sequence[tuple[str, RoutesEvidence, Answer]],
    expected: str,
    severity: Severity | None,
) -> Iterator[Said]:
    """One finding for each place, with the first of its answers."""
    places: dict[str, list[tuple[RoutesEvidence, Answer]]] = {}
    for place, seen, answer in bad:
        places.setdefault(place, []).append((seen, answer))
    for place, answers in sorted(places.items()):
        first = answers[0][1]
        told = f"status {first['status']}" if first["status"] is not None else "no answer"
        more = f" and {len(answers) - 1} more such answers" if len(answers) > 1 else ""
        yield view.finding(
            control,
            place,
            f"{told} to {first['method']} {first['path']} (key {first['key']}){more}",
            expected,
            severity=severity,
            evidence=[line_of(seen, answer) for seen, answer in answers[:SHOWN]],
        )


def _judged(
    view: View,
    control: str,
    asked: Sequence[tuple[RoutesEvidence, Answer]],
    expected: str,
    fine: Sequence[bool | None],
) -> Iterator[Said]:
    """Say for each answer whether it is as it should be (``fine``; None: it tells nothing)."""
    bad = []
    for (seen, answer), good in zip(asked, fine, strict=True):
        if good is None:
            yield Unchecked(line_of(seen, answer), control)
        elif good:
            yield Looked(control, f"{answer['method']} {answer['path']} ({answer['form']}, key {answer['key']})")
        else:
            bad.append(
                (f"{answer['method']} {answer['path']} at {answer['address']} port {answer['port']}", seen, answer)
            )
    yield from grouped(view, control, bad, expected, None)
    if not asked:
        yield Unchecked("no such request was made", control)


def denied_routes(view: View) -> Iterator[Said]:
    """Judge whether routes the gateway does not list give 401 without a key, 404 or 405 with one."""
    if view.gateway is None:
        yield Absent("no gateway is planned here")
        return
    asked = [pair for pair in door_answers(view) if pair[1]["form"] == "plain" and not _passed(view, pair[1])]
    yield from _judged(
        view, "GW-03", asked, "401 without a key, 404 or 405 with one", [_refused(one) for _seen, one in asked]
    )


def _refused(answer: Answer) -> bool | None:
    if _slowed_down(answer):
        return True
    if answer["status"] is None or answer["status"] == 429:
        return None
    refused = answer["status"] in ((401,) if answer["key"] in NO_KEY else (400, 404, 405, 421))
    return refused and not _passed_on(answer)


def _passed_on(answer: Answer) -> bool:
    """Tell whether a refusal is vLLM's own, which means that the gateway let the request through."""
    return answer["body"] == "detail"


def disguised_routes(view: View) -> Iterator[Said]:
    """Judge whether routes the gateway does not list are refused when they are written as something else."""
    if view.gateway is None:
        yield Absent("no gateway is planned here")
        return
    asked = [
        pair for pair in door_answers(view) if pair[1]["form"] not in ("plain", FOREIGN_ORIGIN) and not _burst(pair[1])
    ]
    fine = [_turned_away(one) for _seen, one in asked]
    yield from _judged(view, "GW-04", asked, "a refusal (400, 401, 404, 405, 421) or an ended connection", fine)


def _turned_away(answer: Answer) -> bool | None:
    if answer["status"] == 429:
        return True if _slowed_down(answer) else None
    return answer["status"] is None or (answer["status"] in REFUSALS and not _passed_on(answer))


def keys_required(view: View) -> Iterator[Said]:
    """Judge whether listed routes give 401 without a good key, and with one the engine's answer."""
    if view.gateway is None:
        yield Absent("no gateway is planned here")
        return
    asked = [pair for pair in door_answers(view) if pair[1]["form"] == "plain" and _passed(view, pair[1])]
    fine: list[bool | None] = []
    for _seen, answer in asked:
        if _slowed_down(answer):
            fine.append(True)
        elif answer["status"] is None or answer["status"] == 429:
            fine.append(None)
        elif answer["key"] in NO_KEY:
            fine.append(answer["status"] == 401)
        else:
            fine.append(answer["status"] not in (401, 403) and answer["status"] < 500)
    yield from _judged(view, "GW-05", asked, "401 without a good key, and the engine's answer with one", fine)


def limits_bite(view: View) -> Iterator[Said]:
    """Judge whether a source that tries keys, or a tenant beyond its rate, is told 429."""
    if view.gateway is None:
        yield Absent("no gateway is planned here")
        return
    bursts: dict[tuple[str, str], list[tuple[RoutesEvidence, Answer]]] = {}
    for seen, answer in door_answers(view):
        if _burst(answer):
            bursts.setdefault((answer["form"], answer["key"]), []).append((seen, answer))
    if any(_slowed_down(answer) and not _burst(answer) for _seen, answer in door_answers(view)):
        yield Looked("GW-08", "a source that tried many keys was told 429")
    elif not any(key in NO_KEY for _form, key in bursts):
        yield Unchecked(
            "limits are tried only when that is asked for (audit_try_limits)"
            if burst_of_failures(view.gateway) is not None
            else f"whether wrong keys are slowed down was not tried: going beyond that limit takes more than {MOST_OF_A_BURST} requests"
        )
    if not any(key not in NO_KEY for _form, key in bursts):
        yield Unchecked(_why_no_tenant(view))
    for (form, key), answers in sorted(bursts.items()):
        if any(answer["status"] == 429 for _seen, answer in answers):
            yield Looked("GW-08", f"{form}, key {key}")
        else:
            expected = "429 before the last of them"
            yield view.finding(
                "GW-08",
                f"{form}, key {key}",
                f"{len(answers)} requests and no 429",
                expected,
                evidence=[line_of(*pair) for pair in answers[-SHOWN:]],
            )


def _why_no_tenant(view: View) -> str:
    keys = {answer["key"] for _seen, answer in door_answers(view) if answer["key"] not in NO_KEY}
    if view.gateway is not None and any(burst_of_tenant(view.gateway, key) is None for key in keys):
        return f"no tenant's rate was tried: going beyond it takes more than {MOST_OF_A_BURST} requests, or /v1/models"
    return "no tenant's rate was tried: that takes audit_try_limits and audit_tenant_key"


def answer_headers(view: View) -> Iterator[Said]:
    """Judge whether every answer of the gateway has its headers, and none that tell what is behind it."""
    if view.gateway is None:
        yield Absent("no gateway is planned here")
        return
    bad: dict[str, tuple[str, str, str]] = {}
    looked = 0
    for seen, answer in door_answers(view):
        # nginx answers what it cannot parse with a page of its own.
        if answer["status"] is None or answer["status"] == 400 or answer["form"] != "plain":
            continue
        looked += 1
        for place, found, expected in header_faults(answer["headers"], tls=True):
            bad.setdefault(place, (found, expected, line_of(seen, answer)))
    for place, (found, expected, line) in sorted(bad.items()):
        yield view.finding("GW-07", place, found, expected, evidence=[line])
    if looked:
        yield Looked("GW-07", f"{looked} answers")
    else:
        yield Unchecked("no answer of the gateway was seen")


def header_faults(headers: Mapping[str, str], *, tls: bool) -> Iterator[tuple[str, str, str]]:
    """Yield what is wrong with the headers of an answer: where, found, expected."""
    hsts = headers.get("strict-transport-security", "")
    # Browsers believe it over TLS only.
    if tls and ("max-age=" not in hsts or _seconds(hsts) < 15552000):
        yield "header strict-transport-security", repr(hsts) if hsts else "none", "max-age of half a year or more"
    if headers.get("x-content-type-options") != "nosniff":
        yield "header x-content-type-options", repr(headers.get("x-content-type-options")), "nosniff"
    server = headers.get("server", "")
    if any(character.isdigit() for character in server) or "uvicorn" in server.lower():
        yield "header server", repr(server), "no version and no name of what is behind"
    for name in ("x-powered-by", "via", "openai-processing-ms"):
        if name in headers:
            yield f"header {name}", repr(headers[name]), "no such header"


def _seconds(hsts: str) -> int:
    digits = hsts.partition("max-age=")[2].strip('" ').partition(";")[0].strip('" ')
    return int(digits) if digits.isdecimal() else 0
