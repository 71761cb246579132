# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TLS, headers and origins of servers nobody planned; of a planned gateway, whose TLS and headers are judged in ``tls`` and ``routes``, the origins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...problems import Severity
from ..evidence import Answer, Endpoint, RoutesEvidence
from ..requests import FOREIGN_ORIGIN, ORIGIN
from ..view import OUTSIDE, Absent, Looked, Said, Unchecked, View
from .outside import everything_asked
from .routes import door_answers, header_faults, line_of
from .tls import faults, old_protocols, where

_PLANNED = "the plan says what answers here: GW-01, GW-06 and GW-07 judge it"


def _servers(view: View) -> list[Endpoint]:
    """Return the servers outsiders found that speak TLS or HTTP, each once."""
    found = {
        (one["address"], one["port"]): one
        for seen, one in view.endpoints
        if seen["standing"] in OUTSIDE and (one["tls"] or one["speaks"].get("plain"))
    }
    return [found[place] for place in sorted(found)]


def _answers(view: View, endpoint: Endpoint) -> list[tuple[RoutesEvidence, Answer]]:
    here = (endpoint["address"], endpoint["port"])
    return [
        (seen, answer)
        for seen, answer in view.answers
        if (answer["address"], answer["port"]) == here and answer["status"] is not None and seen["standing"] in OUTSIDE
    ]


def foreign_tls(view: View) -> Iterator[Said]:
    """Judge whether servers nobody planned speak TLS, none of it old, with a certificate that is good."""
    if view.part is not None:
        yield Absent(_PLANNED)
        return
    for endpoint in _servers(view):
        if endpoint["tls"]:
            yield from _tls(view, endpoint)
        elif _leads_to_tls(_answers(view, endpoint)):
            yield Looked("OUT-05", f"{where(endpoint)}, which leads to https")
        else:
            yield view.finding("OUT-05", f"TLS at {where(endpoint)}", "plain HTTP", "TLS 1.2 or newer")
    yield from everything_asked(view, "OUT-05")


def _tls(view: View, endpoint: Endpoint) -> Iterator[Said]:
    here = where(endpoint)
    old, unasked = old_protocols(endpoint)
    wrong = [(f"protocols at {here}", ", ".join(old), "TLSv1.2 and TLSv1.3 only", Severity.ERROR)] if old else []
    if endpoint["certificate"] is not None:
        # Nobody declared a name it should have.
        for what, found, expected, severity in faults(endpoint["certificate"], view.today, named=False):
            wrong.append((f"{what} of the certificate at {here}", found, expected, severity))
    for place, found, expected, severity in wrong:
        yield view.finding("OUT-05", place, found, expected, severity=severity)
    if unasked:
        yield Unchecked(f"{here}: this observer cannot ask for {', '.join(unasked)}", "OUT-05")
    elif not wrong:
        yield Looked("OUT-05", here)


def _leads_to_tls(answers: Sequence[tuple[RoutesEvidence, Answer]]) -> bool:
    told = [answer for _seen, answer in answers if answer["form"] == "plain"]
    return bool(told) and all(
        answer["status"] in (301, 302, 307, 308) and answer["headers"].get("location", "").startswith("https://")
        for answer in told
    )


def foreign_headers(view: View) -> Iterator[Said]:
    """Judge whether answers of servers nobody planned carry security headers, and none that tell what is behind."""
    if view.part is not None:
        yield Absent(_PLANNED)
        return
    for endpoint in _servers(view):
        bad: dict[str, tuple[str, str, str]] = {}
        for seen, answer in _answers(view, endpoint):
            # What a server cannot parse it answers before its configuration has a say.
            if answer["form"] == "plain" and answer["status"] != 400:
                for place, found, expected in header_faults(answer["headers"], tls=endpoint["tls"]):
                    bad.setdefault(place, (found, expected, line_of(seen, answer)))
        for place, (found, expected, line) in sorted(bad.items()):
            yield view.finding("OUT-06", f"{place} at {where(endpoint)}", found, expected, evidence=[line])
    yield from everything_asked(view, "OUT-06")


def foreign_origins(view: View) -> Iterator[Said]:
    """Judge whether pages of other origins get to read answers: of a planned gateway the declared ones only, of others none."""
    if view.part is not None and view.gateway is None:
        yield Absent("no gateway is planned here")
        return
    declared = view.gateway["cors_origins"] if view.gateway is not None else ()
    answers = (
        door_answers(view)
        if view.gateway is not None
        else [pair for endpoint in _servers(view) for pair in _answers(view, endpoint)]
    )
    asked = [(seen, answer) for seen, answer in answers if answer["form"] == FOREIGN_ORIGIN]
    bad: dict[str, tuple[str, str, Severity | None]] = {}
    for seen, answer in asked:
        allowed = answer["headers"].get("access-control-allow-origin", "")
        place = f"origins at {answer['address']} port {answer['port']}"
        if allowed in ("*", "null", ORIGIN):
            credentials = answer["headers"].get("access-control-allow-credentials", "") == "true"
            found = f"access-control-allow-origin: {allowed}{', with credentials' if credentials else ''}"
            bad.setdefault(place, (found, line_of(seen, answer), Severity.ERROR if credentials else None))
        elif answer["status"] is not None:
            yield Looked("OUT-07", place)
    expected = f"the declared ones only: {', '.join(declared)}" if declared else "no page of another origin"
    for place, (found, line, severity) in sorted(bad.items()):
        told = [f"{line}, Origin {ORIGIN}"]
        yield view.finding("OUT-07", place, found, expected, severity=severity, evidence=told)
    known = {(answer["address"], answer["port"]) for _seen, answer in asked}
    missed = sorted({(answer["address"], answer["port"]) for _seen, answer in answers} - known)
    for address, port in missed:
        yield Unchecked(f"nobody asked {address} port {port} as the page of another origin", "OUT-07")
    if view.gateway is None:
        yield from everything_asked(view, "OUT-07")
    elif not asked:
        yield Unchecked("nobody asked as the page of another origin", "OUT-07")
