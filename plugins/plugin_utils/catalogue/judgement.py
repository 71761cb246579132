# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people judged of everything a release has. A name nobody judged is a fault of the catalogue (its tests say so)."""

from __future__ import annotations

import fnmatch
import functools
from dataclasses import dataclass

from .history import KINDS, load, names

IN_JUDGED = ("variables", "flags", "fields", "extra_keys", "servers")


@dataclass(frozen=True)
class Judgement:
    """What an entry is worth to an attacker and what to set.

    ``severity`` (error, warning, info) is that of an unsafe value on a server others reach; ``source`` is observed (on a
    running 0.32.0) or read. ``name`` may be a family with ``*``.
    """

    name: str
    danger: str
    severity: str
    safe: str
    source: str
    why: str


@functools.cache
def judgements(kind: str) -> tuple[Judgement, ...]:
    """Return the judgements of ``kind``: variables, flags, fields, extra_keys or servers."""
    return tuple(Judgement(**entry) for entry in load("judged.yml")[kind])


@functools.cache
def harmless(kind: str) -> dict[str, str]:
    """Return the names and families that need no judgement, with the reason."""
    return {name: group["reason"] for group in load("harmless.yml").get(kind, ()) for name in group["names"]}


def judged(kind: str, name: str) -> Judgement | None:
    """Return the judgement of ``name``, None when it has none of its own."""
    for entry in judgements(kind):
        if fnmatch.fnmatchcase(name, entry.name):
            return entry
    return None


def reason(kind: str, name: str) -> str | None:
    """Return why ``name`` is harmless, None when nobody said so."""
    for pattern, why in harmless(kind).items():
        if fnmatch.fnmatchcase(name, pattern):
            return why
    return None


def unjudged() -> tuple[str, ...]:
    """Return ``kind name`` for everything some known release has and nobody judged, sorted."""
    found = []
    routes = {f"{entry['method']} {entry['path']}" for entry in load("routes.yml")}
    connectors = {entry["name"] for entry in load("connectors.yml")}
    for kind in KINDS:
        for name in names(kind):
            if kind == "routes":
                known = name in routes
            elif kind == "connectors":
                known = name in connectors
            else:
                known = judged(kind, name) is not None or reason(kind, name) is not None
            if not known:
                found.append(f"{kind} {name}")
    return tuple(sorted(found))


def stale() -> tuple[str, ...]:
    """Return ``kind name`` for judgements that fit nothing any known release has, and for those made twice, sorted."""
    found = []
    written = {
        "routes": [f"{entry['method']} {entry['path']}" for entry in load("routes.yml")],
        "connectors": [entry["name"] for entry in load("connectors.yml")],
    }
    for kind in IN_JUDGED:
        written[kind] = [entry.name for entry in judgements(kind)] + list(harmless(kind))
    for kind, patterns in written.items():
        matches = {pattern: set(fnmatch.filter(names(kind), pattern)) for pattern in patterns}
        if kind in ("routes", "connectors"):
            matches = {pattern: {pattern} & names(kind) for pattern in patterns}
        found += [f"{kind} {pattern}: nothing has this name" for pattern, fitting in matches.items() if not fitting]
        every = [name for pattern in patterns for name in matches[pattern]]
        found += [f"{kind} {name}: judged twice" for name in {name for name in every if every.count(name) > 1}]
    return tuple(sorted(found))
