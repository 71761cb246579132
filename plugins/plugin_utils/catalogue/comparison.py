# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The running server as the judge of the catalogue: its routes compared with those the catalogue expects."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from . import Route, routes
from .conditions import holds

# Starlette and FastAPI answer these beside what a program registers.
_IMPLIED = frozenset({"HEAD", "OPTIONS"})


@dataclass(frozen=True)
class LiveRoute:
    """A route of a running server. ``guarded`` tells whether it asks for a key, None when nobody tried.

    ``method`` may be WEBSOCKET or MOUNT, as in the catalogue.
    """

    method: str
    path: str
    guarded: bool | None = None

    @classmethod
    def parse(cls, entry: Mapping[str, Any]) -> LiveRoute:
        """Return the route of a mapping with method, path and perhaps guarded; ValueError when it is none."""
        method, path, guarded = entry.get("method"), entry.get("path"), entry.get("guarded")
        if not isinstance(method, str) or not isinstance(path, str) or not path.startswith("/"):
            raise ValueError(f"{dict(entry)!r} is no route: expected a method and a path that starts with /")
        if guarded is not None and not isinstance(guarded, bool):
            raise ValueError(f"{dict(entry)!r} is no route: expected guarded to be true, false or absent")
        return cls(method.upper(), path, guarded)


class Change(enum.Enum):
    """How a live route differs from the catalogue."""

    ADDED = "added"
    REMOVED = "removed"
    UNGUARDED = "unguarded"
    GUARDED = "guarded"


@dataclass(frozen=True)
class Difference:
    """One route that is not as the catalogue says."""

    change: Change
    method: str
    path: str

    def sentence(self) -> str:
        """Return what was found and what the catalogue says."""
        said = {
            Change.ADDED: "the server has it and the catalogue does not know it",
            Change.REMOVED: "the catalogue expects it and the server does not have it",
            Change.UNGUARDED: "the server asks for no key and the catalogue says it does",
            Change.GUARDED: "the server asks for a key and the catalogue says it does not",
        }
        return f"{self.method} {self.path}: {said[self.change]}"


def expected(release: str, true: frozenset[str]) -> tuple[Route, ...]:
    """Return the routes ``release`` has when exactly the terms ``true`` hold (``conditions.terms_of`` makes them)."""
    return tuple(route for route in routes(release) if holds(route.when, true))


def compare_routes(live: Iterable[LiveRoute], catalogue: Iterable[Route], key: bool = True) -> list[Difference]:
    """Return how the ``live`` routes differ from those of the ``catalogue``, in order of path and method.

    ``key`` tells whether the server was given a key: without one nothing is guarded. Names of path parameters do not count.
    """
    known = {_identity(route.method, route.path): route for route in catalogue}
    found: dict[tuple[str, str], LiveRoute] = {}
    for route in live:
        identity = _identity(route.method, route.path)
        if route.method in _IMPLIED and identity not in known:
            continue
        found[identity] = route
    differences = [
        Difference(Change.REMOVED, known[gone].method, known[gone].path) for gone in known.keys() - found.keys()
    ]
    for identity, route in found.items():
        judged = known.get(identity)
        if judged is None:
            differences.append(Difference(Change.ADDED, route.method, route.path))
        elif route.guarded is not None and route.guarded != (judged.guarded and key):
            change = Change.GUARDED if route.guarded else Change.UNGUARDED
            differences.append(Difference(change, judged.method, judged.path))
    return sorted(differences, key=lambda item: (item.path, item.method, item.change.value))


def _identity(method: str, path: str) -> tuple[str, str]:
    return method, re.sub(r"\{[^}]*\}", "{}", path)
