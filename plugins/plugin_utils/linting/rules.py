# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules as the catalogue keeps them: tables for single values, texts for everything else."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .. import catalogue
from ..problems import Severity

with contextlib.suppress(ImportError):  # ansible-core needs it; only the bare interpreter of ansible-test lacks it
    from packaging.version import InvalidVersion, Version

_DATA = Path(catalogue.__file__).with_name("data")
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class ValueRule:
    """A rule for one variable, option or field of a JSON option: when it holds and what to say then.

    ``when`` and ``unless`` are traits the process must have or must not have; ``since`` and ``before`` limit it to
    releases.
    """

    rule: str
    name: str
    condition: str
    severity: Severity
    why: str
    remedy: str
    value: Any = None
    when: frozenset[str] = frozenset()
    unless: frozenset[str] = frozenset()
    since: Version | None = None
    before: Version | None = None

    def applies(self, traits: frozenset[str], release: Version) -> bool:
        """Tell whether the rule speaks about a process with ``traits`` of ``release``."""
        if not self.when <= traits or self.unless & traits:
            return False
        return (self.since is None or release >= self.since) and (self.before is None or release < self.before)


@dataclass(frozen=True)
class Rule:
    """What is said about one rule id: its title, and for rules that look at more than one value how bad it is.

    ``severity`` is None for rules that live in the tables of values. ``bad`` and ``good`` are examples:
    ``{"kind": ..., "text": ...}``, and ``path`` and ``release`` where they matter.
    """

    rule: str
    title: str
    source: str
    bad: Mapping[str, Any]
    good: Mapping[str, Any]
    severity: Severity | None = None
    expected: str = ""
    remedy: str = ""


def version(release: str) -> Version | None:
    """Return ``release`` as PEP 440 orders it, None when it is no version."""
    try:
        return Version(release)
    except InvalidVersion:
        return None


def _load(name: str) -> Any:
    with (_DATA / name).open(encoding="utf-8") as stream:
        return yaml.load(stream, Loader=_Loader)  # noqa: S506 - a safe loader


@functools.cache
def _table(name: str) -> tuple[ValueRule, ...]:
    return tuple(
        ValueRule(
            entry["rule"],
            entry["name"],
            entry["is"],
            Severity.parse(entry["severity"]),
            entry["why"],
            entry["remedy"],
            entry.get("value"),
            frozenset(entry.get("when", ())),
            frozenset(entry.get("unless", ())),
            Version(entry["since"]) if "since" in entry else None,
            Version(entry["before"]) if "before" in entry else None,
        )
        for entry in _load(name)
    )


def variable_rules() -> tuple[ValueRule, ...]:
    """Return the rules for environment variables."""
    return _table("variables.yml")


def option_rules() -> tuple[ValueRule, ...]:
    """Return the rules for options of ``vllm serve``."""
    return _table("options.yml")


def field_rules() -> tuple[ValueRule, ...]:
    """Return the rules for fields of JSON options, named ``option.field``."""
    return _table("fields.yml")


@functools.lru_cache(maxsize=256)
def applicable(
    rules: Callable[[], tuple[ValueRule, ...]], traits: frozenset[str], release: Version
) -> tuple[ValueRule, ...]:
    """Return those of ``rules`` that speak about processes with ``traits`` of ``release``; a cluster has many alike."""
    return tuple(rule for rule in rules() if rule.applies(traits, release))


def value_rules() -> tuple[ValueRule, ...]:
    """Return every rule that looks at one value."""
    return (*option_rules(), *field_rules(), *variable_rules())


@functools.cache
def described() -> dict[str, Rule]:
    """Return every rule id with its text and examples, in the order of the documentation."""
    found: dict[str, Rule] = {}
    for file in sorted((_DATA / "rules").glob("*.yml")):
        for entry in _load(f"rules/{file.name}"):
            severity = Severity.parse(entry["severity"]) if "severity" in entry else None
            found[entry["rule"]] = Rule(
                entry["rule"],
                entry["title"],
                entry["source"],
                _example(entry["bad"]),
                _example(entry["good"]),
                severity,
                entry.get("expected", ""),
                entry.get("remedy", ""),
            )
    return found


def _example(entry: Any) -> dict[str, Any]:
    return {"kind": "command", "text": entry} if isinstance(entry, str) else dict(entry)


@functools.cache
def floors() -> tuple[tuple[Version, str, str, frozenset[str]], ...]:
    """Return the releases below which something is known: (release, severity, why, traits it needs), worst first."""
    return tuple(
        (Version(entry["below"]), entry["severity"], entry["why"], frozenset(entry.get("when", ())))
        for entry in _load("floors.yml")
    )
