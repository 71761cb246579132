# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the source of each release says, stored once with ranges of releases (``data/source``, made by tools/catalogue).

A range is ``{"since": first release, "until": first release that no longer has it so, or null, attributes...}``.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

with contextlib.suppress(ImportError):  # ansible-core needs it; only the bare interpreter of ansible-test lacks it
    from packaging.version import InvalidVersion, Version

DATA = Path(__file__).with_name("data")
KINDS = ("routes", "variables", "flags", "fields", "connectors", "extra_keys", "servers")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@functools.cache
def load(name: str) -> Any:
    """Return the content of data file ``name`` (YAML or JSON)."""
    text = (DATA / name).read_text(encoding="utf-8")
    return json.loads(text) if name.endswith(".json") else yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader


@dataclass(frozen=True)
class Nearest:
    """The known release whose facts stand for another one; ``exact`` when it is that release or a rebuild of it."""

    release: str
    exact: bool


@functools.cache
def releases() -> tuple[str, ...]:
    """Return the releases whose facts are known, oldest first."""
    return tuple(sorted(load("source/releases.json"), key=Version))


@functools.cache
def position(release: str) -> int:
    """Return the place of ``release`` among the known ones; KeyError for an unknown one."""
    try:
        return releases().index(release)
    except ValueError:
        raise KeyError(release) from None


@functools.cache
def nearest(version: str) -> Nearest:
    """Return the known release to take for ``version``: of its minor release, else the next older, else the oldest.

    Raises ValueError when ``version`` is no version by PEP 440. A caller says so when the answer is not exact.
    """
    try:
        wanted = Version(version)
    except InvalidVersion:
        raise ValueError(f"{version!r} is no version: expected one such as {releases()[-1]}") from None
    known = {Version(release): release for release in releases()}
    same = [found for found in known if found.release[:2] == wanted.release[:2]]
    older = [found for found in known if found <= wanted]
    chosen = max(same) if same else max(older) if older else min(known)
    # A post or local release is the same source built again; a pre-release is not.
    exact = Version(wanted.base_version) == chosen and not wanted.is_prerelease
    return Nearest(known[chosen], exact)


def ranges(kind: str, name: str) -> tuple[Mapping[str, Any], ...]:
    """Return the ranges of one name, oldest first; empty when no known release has it."""
    return tuple(load(f"source/{kind}.json").get(name, ()))


def names(kind: str) -> frozenset[str]:
    """Return every name of ``kind`` any known release has."""
    return frozenset(load(f"source/{kind}.json"))


@functools.cache
def at(kind: str, release: str) -> Mapping[str, Mapping[str, Any]]:
    """Return what ``release`` has: name to attributes; KeyError for an unknown release."""
    here = position(release)
    found: dict[str, Mapping[str, Any]] = {}
    for name, entries in load(f"source/{kind}.json").items():
        for entry in entries:
            if position(entry["since"]) <= here and (entry["until"] is None or here < position(entry["until"])):
                found[name] = entry
    return found


@functools.cache
def presence(kind: str, name: str) -> tuple[tuple[str, str | None], ...]:
    """Return since when and until when ``name`` exists: joined ranges (first release, first release without it)."""
    joined: list[tuple[str, str | None]] = []
    for entry in ranges(kind, name):
        if joined and joined[-1][1] == entry["since"]:
            joined[-1] = (joined[-1][0], entry["until"])
        else:
            joined.append((entry["since"], entry["until"]))
    return tuple(joined)


def release_facts(release: str) -> Mapping[str, Any]:
    """Return what is known of one release: guard, package, sha256 (of the wheel read) and the SageMaker package."""
    position(release)
    facts: Mapping[str, Any] = load("source/releases.json")[release][0]
    return facts
