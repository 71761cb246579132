# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which release a process is judged by, and what the catalogue says about it and about names it does not have."""

from __future__ import annotations

import contextlib
import difflib
import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .. import catalogue
from ..catalogue.advisories import Advisory, advisories, first_without
from ..catalogue.mitigation import Running, Verdict, verdict
from ..catalogue.renames import advice, told
from ..problems import Severity, did_you_mean
from .command import Command, Given, json_of
from .rules import floors, version
from .texts import Note, Process, Text

with contextlib.suppress(ImportError):  # ansible-core needs it; only the bare interpreter of ansible-test lacks it
    from packaging.version import Version

_VERSION = r"(\d+\.\d+(?:\.\d+){0,2}(?:(?:a|b|rc|\.post|\.dev)\d+)?)"
_TAG = re.compile(rf"v?{_VERSION}(?:[-+_].*)?")
_INNER = re.compile(rf"vllm[-_]?v?{_VERSION}")
_PIN = re.compile(rf"\bvllm(?:-[a-z]+)?(?:\[[\w,-]+\])?==\s*v?{_VERSION}")
_OWNERS = {
    "kv-transfer-config": "KVTransferConfig",
    "kv-events-config": "KVEventsConfig",
    "ec-transfer-config": "ECTransferConfig",
}
_CONNECTORS = {"kv-transfer-config": "kv", "ec-transfer-config": "ec"}
_NAMED = 3


@dataclass(frozen=True)
class Release:
    """The release to judge by: its version, the known release that stands for it, and whether somebody named it."""

    version: Version
    known: str
    named: bool

    def has_option(self, name: str) -> bool:
        """Tell whether the release has option ``name``."""
        return name in catalogue.options(self.known)

    def reads(self, name: str) -> bool:
        """Tell whether the release reads variable ``name``; others than vLLM's own count as read."""
        return not name.startswith("VLLM_") or name in catalogue.variables(self.known)


def chosen(read: Text | None, given: str | None) -> Release:
    """Return the release to judge by: read from the artefact, else given, else the newest known."""
    for candidate in (read, given):
        found = version(str(candidate)) if candidate else None
        if found is not None:
            return Release(found, catalogue.nearest(str(found)).release, True)
    return Release(Version(catalogue.newest()), catalogue.newest(), False)


def of_image(image: Text) -> Text | None:
    """Return the release the tag of ``image`` names, None when it names none or another program's."""
    repository, colon, tag = image.partition("@")[0].rpartition(":")
    if not colon or "/" in tag or "vllm" not in repository.lower():
        return None
    match = _INNER.search(tag) or _TAG.fullmatch(tag)
    # Other tags are months (25.11) or releases of somebody's own.
    known = Version(catalogue.newest()).major
    return image.become(match[1]) if match and int(match[1].split(".")[0]) <= known else None


def of_pin(content: str, path: str = "") -> Text | None:
    """Return the release a pin such as ``vllm==0.12.0`` in ``content`` names."""
    match = _PIN.search(content)
    return Text(match[1], content.count("\n", 0, match.start()) + 1, path) if match else None


def unknown_option(word: Text, place: str, release: Release) -> Note:
    """Return what to say about an option the release does not have."""
    name = word.lstrip("-").replace("_", "-").split(".")[0]
    remedy = told("flags", name, release.known)
    if remedy:
        return Note("arg-removed", word, place, str(word), remedy=remedy)
    return Note("arg-unknown", word, place, str(word), remedy=did_you_mean(name, catalogue.known_flags(release.known)))


def variable_notes(process: Process, release: Release, prefix: str) -> Iterator[Note]:
    """Yield what to say about variables of vLLM's own that the release does not read."""
    for name, value in process.environment.items():
        if release.reads(name):
            continue
        said = advice("variables", name, release.known)
        place = f"{prefix}environment.{name}"
        if said is not None and (said.gone or said.comes):
            remedy = " ".join(part for part in (said.sentence(), said.remedy or "Remove it.") if part)
            yield Note("env-no-effect", value, place, name, remedy=remedy)
        elif close := _close(name, release.known):
            yield Note("env-unknown", value, place, name, remedy=f"Did you mean {close!r}?")
        elif not process.fragment:
            yield Note("env-unknown", value, place, name, severity=Severity.INFO)


@functools.lru_cache(maxsize=1024)
def _close(name: str, release: str) -> str | None:
    found = difflib.get_close_matches(name, catalogue.known_variables(release), n=1, cutoff=0.9)
    return found[0] if found else None


def field_notes(options: Mapping[str, Given], release: Release, prefix: str) -> Iterator[Note]:
    """Yield what to say about fields and connectors of transfer settings that the release does not have."""
    for name, owner in _OWNERS.items():
        option = options.get(name)
        value = json_of(option)
        known = catalogue.fields(owner, release.known)
        if option is None or not isinstance(value, dict) or not known:
            continue
        for field in value:
            if field not in known:
                said = advice("fields", f"{owner}.{field}", release.known)
                place = f"{prefix}argv.--{name}.{field}"
                remedy = said.remedy if said is not None and said.remedy else did_you_mean(str(field), known)
                yield Note("kv-field-removed", option.written, place, str(field)[:80], remedy=remedy)
        yield from _connector_notes(option, value, name, release, prefix)


def _connector_notes(
    option: Given, value: Mapping[str, object], name: str, release: Release, prefix: str
) -> Iterator[Note]:
    kind = _CONNECTORS.get(name)
    connector = value.get(f"{kind}_connector")
    if kind is None or not isinstance(connector, str) or value.get(f"{kind}_connector_module_path"):
        return
    known = catalogue.connectors(kind, release.known)
    if connector not in known:
        said = advice("connectors", f"{kind}:{connector}", release.known)
        remedy = said.remedy if said is not None and said.remedy else did_you_mean(connector, known)
        yield Note(
            "kv-connector", option.written, f"{prefix}argv.--{name}.{kind}_connector", connector[:80], remedy=remedy
        )


def age_notes(
    process: Process, command: Command, options: Mapping[str, Given], release: Release, traits: frozenset[str]
) -> Iterator[Note]:
    """Yield the worst that is known about running ``release`` as ``process`` does."""
    for below, severity, why, when in floors():
        if release.version < below and when <= traits:
            open_to = _open(process, command, options, release)
            found = f"vLLM {release.version}"
            if open_to:
                named = ", ".join(f"{entry.id} ({entry.severity})" for entry in open_to[:_NAMED])
                more = f" and {len(open_to) - _NAMED} more" if len(open_to) > _NAMED else ""
                found += f", open to {named}{more}"
            target = max(Version(first_without(str(release.version)) or "0"), floors()[-1][0])
            yield Note(
                "release-old",
                process.release or process.at,
                f"{process.where}.release" if process.where else "release",
                found,
                severity=Severity.parse(severity),
                expected=f"{below} or newer, because {why}",
                remedy=f"Upgrade to {target} or newer.",
            )
            return


def _open(process: Process, command: Command, options: Mapping[str, Given], release: Release) -> list[Advisory]:
    """Return the advisories ``process`` does nothing against, the worst first."""
    running = Running(
        {name: option.values for name, option in options.items()},
        process.environment,
        frozenset(name for name, option in options.items() if option.negated),
        str(command.positional[0]) if command.positional and command.positional[0].known else None,
        release.known,
    )
    return [entry for entry in _advisories(str(release.version)) if verdict(entry, running) is Verdict.EXPOSED]


@functools.lru_cache(maxsize=64)
def _advisories(release: str) -> tuple[Advisory, ...]:
    return advisories(release)
