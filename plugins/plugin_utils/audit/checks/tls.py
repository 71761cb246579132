# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TLS of the gateway's door: protocols, certificate, expiry; and whether engines speak it."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from ...problems import Severity
from ..evidence import Certificate, Endpoint
from ..view import Absent, Looked, Said, Unchecked, View
from .routes import at_door

OLD = ("TLSv1", "TLSv1.1")
NOTICE = datetime.timedelta(days=14)


def _door(view: View) -> list[Endpoint]:
    found = [endpoint for _seen, endpoint in view.endpoints if at_door(view, endpoint["address"], endpoint["port"])]
    return list({(one["address"], one["port"], one["error"] is None): one for one in found}.values())


def where(endpoint: Endpoint) -> str:
    """Return what a socket is called in findings."""
    return f"{endpoint['address']} port {endpoint['port']}"


def _each(view: View, control: str) -> Iterator[Endpoint | Said]:
    if view.gateway is None:
        yield Absent("no gateway is planned here")
        return
    door = _door(view)
    if not door:
        yield Unchecked("nobody opened a connection to the gateway", control)
    for endpoint in door:
        if endpoint["error"] is not None:
            yield Unchecked(f"{where(endpoint)}: {endpoint['error']}", control)
        else:
            yield endpoint


def tls_answers(view: View) -> Iterator[Said]:
    """Judge whether the door speaks TLS."""
    for endpoint in _each(view, "GW-01"):
        if not isinstance(endpoint, dict):
            yield endpoint
        elif endpoint["tls"]:
            yield Looked("GW-01", where(endpoint))
        else:
            yield view.finding("GW-01", f"TLS at {where(endpoint)}", "no TLS", "TLS with the declared certificate")


def tls_protocols(view: View) -> Iterator[Said]:
    """Judge whether no protocol older than TLS 1.2 is spoken."""
    for endpoint in _each(view, "GW-06"):
        if not isinstance(endpoint, dict):
            yield endpoint
            continue
        old, unasked = old_protocols(endpoint)
        if old or not endpoint["tls"]:
            yield view.finding(
                "GW-06",
                f"protocols at {where(endpoint)}",
                ", ".join(old) or "no TLS",
                "TLSv1.2 and TLSv1.3 only",
                remedy="Put nothing but the generated configuration in front of clients and run the site playbook again.",
                evidence=[
                    f"{name}: {'spoken' if spoken else 'refused'}"
                    for name, spoken in sorted(endpoint["speaks"].items())
                ],
            )
        elif unasked:
            yield Unchecked(f"{where(endpoint)}: this observer cannot ask for {', '.join(unasked)}", "GW-06")
        else:
            yield Looked("GW-06", where(endpoint))


def old_protocols(endpoint: Endpoint) -> tuple[list[str], list[str]]:
    """Return the old protocols a server speaks, and those nobody could ask it for."""
    speaks = endpoint["speaks"]
    return [name for name in OLD if speaks.get(name)], [name for name in OLD if speaks.get(name) is None]


def certificate(view: View) -> Iterator[Said]:
    """Judge whether the certificate is trusted, names the server, and is good for a while."""
    for endpoint in _each(view, "GW-06"):
        if not isinstance(endpoint, dict):
            yield endpoint
            continue
        given = endpoint["certificate"]
        if given is None:
            continue  # without TLS, which tls_protocols says
        wrong = list(faults(given, view.today))
        for what, found, expected, severity in wrong:
            yield view.finding(
                "GW-06",
                f"{what} of the certificate at {where(endpoint)}",
                found,
                expected,
                severity=severity,
                evidence=[f"subject {given['subject']}, issuer {given['issuer']}, SHA-256 {given['sha256']}"],
            )
        if not wrong:
            yield Looked("GW-06", f"certificate at {where(endpoint)}, good until {given['not_after']}")


def faults(given: Certificate, today: datetime.date, *, named: bool = True) -> Iterator[tuple[str, str, str, Severity]]:
    """Yield what is wrong with a certificate: what, found, expected, how bad; its names where one is declared (``named``)."""
    begins, ends = (datetime.date.fromisoformat(given[key][:10]) for key in ("not_before", "not_after"))
    if ends < today:
        yield "end", f"it ended on {ends}", "one that is in force", Severity.ERROR
    elif ends < today + NOTICE:
        yield "end", f"it ends on {ends}", f"14 days from {today} or more", Severity.WARNING
    if begins > today:
        yield "begin", f"it begins on {begins}", "one that is in force", Severity.ERROR
    if named and not given["matches"]:
        yield "names", ", ".join(given["names"]) or "none", "the declared server name among them", Severity.ERROR
    if not given["trusted"] and ends >= today:
        yield "issuer", given["distrust"] or "not trusted", "an authority clients trust", Severity.WARNING


def engines_tls(view: View) -> Iterator[Said]:
    """Judge whether the engines' own servers speak TLS and nothing else, where that is declared."""
    servers = [engine["api"] for engine in view.engines if engine["tls"] is not None]
    if not servers:
        yield Absent("no engine with a server and engine.tls is planned here")
    for server in servers:
        here = (server["address"], server["port"])
        seen = [one for _seen, one in view.endpoints if (one["address"], one["port"]) == here]
        place = f"{here[0]} port {here[1]}"
        plain = any(one["speaks"].get("plain") for one in seen)
        if plain:
            yield view.finding("GW-11", f"TLS at {place}", "plain HTTP is answered", "TLS only, as engine.tls declares")
        elif any(one["tls"] for one in seen):
            yield Looked("GW-11", place)
        else:
            yield Unchecked(f"nobody who may reach {place} opened a connection to it", "GW-11")
