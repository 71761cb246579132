# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What vLLM is, by release: routes, options, variables and who may see or set them.

Every stage reads this package and nothing else about vLLM. ``data/source`` holds what each release's source says (made by
tools/catalogue), the other data files what people judged. Where a function takes a release, None means the newest known
one and an unknown one raises KeyError; ``nearest`` finds the known release that stands for another.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any

from .history import Nearest, load, names, nearest, release_facts, releases
from .history import at as source_at

__all__ = [
    "Nearest",
    "Option",
    "Route",
    "Rule",
    "Variable",
    "aliases",
    "connectors",
    "default_ports",
    "fields",
    "flag_name",
    "guarded_prefixes",
    "is_known_flag",
    "known_flags",
    "known_variables",
    "nearest",
    "newest",
    "option_rules",
    "options",
    "owned_flags",
    "owned_variables",
    "releases",
    "routes",
    "user_groups",
    "user_routes",
    "variable_rules",
    "variables",
]

_PORT_NAME = re.compile(r"(port|endpoint|url)$", re.IGNORECASE)


@dataclass(frozen=True)
class Route:
    """One HTTP route. ``group`` is None unless a gateway may pass it to users.

    ``method`` may be WEBSOCKET, or MOUNT for an application that answers everything below its path. ``when`` is a
    condition (conditions.py), ``severity`` that of somebody outside its audience reaching it. ``ids`` holds the names in
    ``path`` with what they may be (a regular expression), ``query`` its parameters with their kind (boolean, number, name).
    """

    method: str
    path: str
    when: str
    guarded: bool
    danger: str
    audience: str
    group: str | None = None
    severity: str = "error"
    why: str = ""
    source: str = "read"
    ids: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Rule:
    """A lint rule for one name: when it holds (``condition``, ``value``), how bad it is, why, and how to mend it."""

    rule: str
    name: str
    condition: str
    severity: str
    why: str
    remedy: str
    value: Any = None


@dataclass(frozen=True)
class Option:
    """A long option of vllm serve: whether it is a switch without a value, and whether it takes several values.

    ``default`` is JSON, or None where ``default_code`` holds an expression only vLLM itself can evaluate; ``json`` tells that
    single fields may be given by dotted names.
    """

    name: str
    switch: bool
    several: bool
    default: Any = None
    default_code: str | None = None
    json: bool = False
    deprecated: bool = False


@dataclass(frozen=True)
class Variable:
    """An environment variable a release reads; ``declared`` in envs.py, so that a misspelling of it can be noticed.

    ``default`` is the text it stands for when unset, None when there is none or ``default_code`` has to be evaluated.
    """

    name: str
    declared: bool
    default: str | None = None
    default_code: str | None = None


def newest() -> str:
    """Return the newest release whose facts are known."""
    return releases()[-1]


def guarded_prefixes(release: str) -> tuple[str, ...]:
    """Return the path prefixes ``--api-key`` guards in ``release``; KeyError for an unknown one."""
    return tuple(release_facts(release)["guard"]["prefixes"])


@functools.cache
def routes(release: str | None = None) -> tuple[Route, ...]:
    """Return every HTTP route ``release`` can have, in the order of the judgements."""
    known = release or newest()
    guarded = guarded_prefixes(known)
    present = source_at("routes", known)
    found = []
    for judged in load("routes.yml"):
        entry = present.get(f"{judged['method']} {judged['path']}")
        if entry is not None:
            pairs = {name: tuple(sorted(judged.get(name, {}).items())) for name in ("ids", "query")}
            found.append(Route(when=entry["when"], guarded=judged["path"].startswith(guarded), **{**judged, **pairs}))
    return tuple(found)


@functools.cache
def user_groups(release: str | None = None) -> tuple[str, ...]:
    """Return the names of the groups of routes a gateway may pass to users, sorted."""
    return tuple(sorted({route.group for route in routes(release) if route.group is not None}))


def user_routes(groups: frozenset[str], release: str | None = None) -> tuple[Route, ...]:
    """Return the routes of ``groups``, sorted by path and method."""
    chosen = [route for route in routes(release) if route.group in groups and route.audience.startswith("user")]
    return tuple(sorted(chosen, key=lambda route: (route.path, route.method)))


def _rules(name: str) -> tuple[Rule, ...]:
    return tuple(
        Rule(
            entry["rule"],
            entry["name"],
            entry["is"],
            entry["severity"],
            entry["why"],
            entry["remedy"],
            entry.get("value"),
        )
        for entry in load(name)
    )


@functools.cache
def option_rules() -> tuple[Rule, ...]:
    """Return the lint rules for options of ``vllm serve``."""
    return _rules("options.yml")


@functools.cache
def variable_rules() -> tuple[Rule, ...]:
    """Return the lint rules for environment variables."""
    return _rules("variables.yml")


@functools.cache
def options(release: str | None = None) -> dict[str, Option]:
    """Return the options of ``vllm serve`` by name without dashes."""
    return {
        name: Option(
            name,
            entry["switch"],
            entry["several"],
            entry.get("default"),
            entry.get("default_code"),
            entry.get("json", False),
            entry.get("deprecated", False),
        )
        for name, entry in source_at("flags", release or newest()).items()
    }


@functools.cache
def aliases(release: str | None = None) -> dict[str, str]:
    """Return the short and alternative spellings of options: spelling without dashes to name."""
    present = source_at("flags", release or newest())
    return {spelling: name for name, entry in present.items() for spelling in entry["aliases"]}


@functools.cache
def known_flags(release: str | None = None) -> frozenset[str]:
    """Return the names of all options of ``vllm serve``."""
    return frozenset(options(release))


def flag_name(written: str, release: str | None = None) -> str:
    """Return an option as the parser names it: no dashes in front, ``-`` for ``_``, aliases and ``no-`` resolved."""
    name = written.lstrip("-").replace("_", "-")
    name = aliases(release).get(name, name)
    known = options(release)
    if name not in known and name.startswith("no-") and name[3:] in known:
        return name[3:]
    return name


def is_known_flag(name: str, release: str | None = None) -> bool:
    """Tell whether ``name`` is an option of ``vllm serve``."""
    return name in options(release)


@functools.cache
def variables(release: str | None = None) -> dict[str, Variable]:
    """Return the environment variables vLLM reads, by name."""
    return {
        name: Variable(name, entry["declared"], entry.get("default"), entry.get("default_code"))
        for name, entry in source_at("variables", release or newest()).items()
    }


@functools.cache
def known_variables(release: str | None = None) -> frozenset[str]:
    """Return the names of the environment variables vLLM reads."""
    return frozenset(variables(release))


@functools.cache
def fields(owner: str, release: str | None = None) -> frozenset[str]:
    """Return the fields of a configuration class such as ``KVTransferConfig``; empty when the release has none."""
    prefix = f"{owner}."
    present = source_at("fields", release or newest())
    return frozenset(name.removeprefix(prefix) for name in present if name.startswith(prefix))


@functools.cache
def connectors(kind: str, release: str | None = None) -> frozenset[str]:
    """Return the registered connectors of ``kind`` (``kv`` for caches of attention, ``ec`` for those of encoders)."""
    prefix = f"{kind}:"
    present = source_at("connectors", release or newest())
    return frozenset(name.removeprefix(prefix) for name in present if name.startswith(prefix))


@functools.cache
def default_ports(release: str | None = None) -> dict[str, int]:
    """Return the default ports by what sets them: ``--option``, ``VARIABLE``, ``Class.field`` or ``connector:key``."""
    known = release or newest()
    found: dict[str, int] = {}
    for kind, prefix in (("flags", "--"), ("variables", ""), ("fields", ""), ("extra_keys", "")):
        for name, entry in source_at(kind, known).items():
            # A port of its own, or one at the end of an address such as tcp://*:5557.
            written = re.fullmatch(r"(?:\w+://.*:)?(\d+)", str(entry.get("default", "")))
            if written and _PORT_NAME.search(name) and int(written[1]) > 0:
                found[f"{prefix}{name}"] = int(written[1])
    return dict(sorted(found.items()))


def owned_flags(release: str | None = None) -> dict[str, str]:
    """Return the options the plan sets itself, with where they come from; with a release only those it has."""
    owned = dict(load("owned.yml")["flags"])
    return owned if release is None else {name: where for name, where in owned.items() if is_known_flag(name, release)}


def owned_variables(release: str | None = None) -> dict[str, str]:
    """Return the variables the plan sets itself, with where they come from.

    With a release, those that vLLM reads in others only are left out.
    """
    owned = dict(load("owned.yml")["variables"])
    if release is None:
        return owned
    gone = names("variables") - known_variables(release)
    return {name: where for name, where in owned.items() if name not in gone}
