# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All facts of one release, and the files of the catalogue made of those of all releases."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml
from packaging.version import Version

from . import booleans
from .booleans import Condition
from .fetch import PACKAGE, STANDARDS, Source, available, fetch, latest_patches
from .flags import FlagReader
from .guard import read_guard
from .library import Library
from .routes import RouteReader
from .spans import dump, merge
from .standards import Standards
from .transfer import read_connectors, read_extra_keys, read_fields, read_servers
from .values import Registration
from .variables import VariableReader

KINDS = ("routes", "variables", "flags", "fields", "connectors", "extra_keys", "servers", "releases")
# A task that is a pooling task need not say so.
POOLING = frozenset({"classify", "embed", "scoring"})
TASKS = POOLING | {"generate", "render", "transcription", "realtime", "pooling", "cohere-sdk"}
MEANINGS = Path(__file__).with_name("meanings.yml")


@dataclass
class Facts:
    """The facts of one release by kind and name, and what could not be decided, as sentences."""

    release: str
    kinds: dict[str, dict[str, dict[str, Any]]]
    undecided: list[str] = field(default_factory=list)


def read_release(source: Source, standards: Source | None) -> Facts:
    """Return what the sources of one release say; ValueError when what a reading starts from is not there."""
    library = Library(source.files)
    files = standards.files if standards else {}
    router = RouteReader(library, Standards(files), meanings(source.release))
    registered = router.read()
    variables = VariableReader(library, files)
    flags = FlagReader(library)
    kinds = {
        "routes": _routes(registered),
        "variables": variables.read(),
        "flags": flags.read(),
        "fields": read_fields(library),
        "connectors": read_connectors(library),
        "extra_keys": read_extra_keys(library),
        "servers": read_servers(library, {route.file for route in registered}),
        "releases": {"vllm": {"guard": read_guard(library), **_origin(source, standards)}},
    }
    undecided = [f"routes: {text}" for text in sorted(router.undecided)]
    undecided += [f"routes: unknown term {term!r}" for term in _unknown_terms(kinds["routes"])]
    undecided += [f"flags: {text}" for text in sorted(flags.undecided)]
    undecided += [f"variables: {text}" for text in sorted(variables.undecided)]
    undecided += [f"unreadable: {path}: {text}" for path, text in sorted(library.unreadable.items())]
    for kind in ("flags", "fields", "extra_keys", "variables"):
        undecided += [
            f"{kind}: the default of {name} is {entry['default_code']}"
            for name, entry in kinds[kind].items()
            if "default_code" in entry
        ]
    return Facts(source.release, kinds, undecided)


def meanings(release: str) -> dict[str, str]:
    """Return what undecidable tests mean in ``release``: text of a test to text of a condition."""
    found: dict[str, str] = {}
    for test, meant in yaml.safe_load(MEANINGS.read_text(encoding="utf-8")).items():
        for entry in meant if isinstance(meant, list) else [{"means": meant}]:
            if "until" not in entry or Version(release) < Version(entry["until"]):
                found[test] = entry["means"]
                break
    return found


def _origin(source: Source, standards: Source | None) -> dict[str, Any]:
    origin: dict[str, Any] = {"package": f"{source.package}=={source.version}", "sha256": source.sha256}
    if standards is not None:
        origin["standards"] = f"{standards.package}=={standards.version}"
    return origin


def _routes(registered: list[Registration]) -> dict[str, dict[str, Any]]:
    conditions: dict[str, Condition] = {}
    files: dict[str, set[str]] = {}
    for route in registered:
        name = f"{route.method} {route.path}"
        conditions[name] = booleans.either(conditions.get(name, booleans.FALSE), _shorten(route.when))
        files.setdefault(name, set()).add(route.file)
    return {
        name: {"when": booleans.text(when), "file": " ".join(sorted(files[name]))} for name, when in conditions.items()
    }


def _shorten(condition: Condition) -> Condition:
    return booleans.simplify(
        frozenset(
            term - {("pooling", True)} if any((name, True) in term for name in POOLING) else term for term in condition
        )
    )


def _unknown_terms(routes: dict[str, dict[str, Any]]) -> list[str]:
    names = {name for entry in routes.values() for term in booleans.parse(entry["when"]) for name, _ in term}
    return sorted(
        name for name in names if not (name in TASKS or name.startswith("--") or name.replace("_", "").isupper())
    )


def read_all(cache: Path) -> list[Facts]:
    """Return the facts of the newest patch of every minor release, oldest first; fetches what ``cache`` lacks."""
    found = []
    chosen: dict[str, Source] = {}
    for version in latest_patches(available(PACKAGE)):
        source = fetch(PACKAGE, f"=={version}", cache)
        wanted = source.requirement(STANDARDS)
        standards = None
        if wanted is not None:
            # An open range: what pip picks today, once for all releases that ask for the same.
            specifier = str(wanted.specifier)
            standards = chosen[specifier] = chosen.get(specifier) or fetch(STANDARDS, specifier, cache)
        found.append(_read_once(source, standards, cache))
    return found


def _read_once(source: Source, standards: Source | None, cache: Path) -> Facts:
    """Return the facts of a release, from ``cache`` when the same code has read the same sources before."""
    digest = hashlib.sha256(f"{source.sha256} {standards.sha256 if standards else ''}".encode())
    for path in sorted([*Path(__file__).parent.glob("*.py"), MEANINGS]):
        digest.update(path.read_bytes())
    cache.mkdir(parents=True, exist_ok=True)
    kept = cache / f"facts-{source.release}-{digest.hexdigest()[:16]}.json"
    if kept.exists():
        return Facts(**json.loads(kept.read_text(encoding="utf-8")))
    facts = read_release(source, standards)
    for old in cache.glob(f"facts-{source.release}-*.json"):
        old.unlink()
    kept.write_text(json.dumps(asdict(facts)), encoding="utf-8")
    return facts


def files(facts: list[Facts]) -> dict[str, str]:
    """Return the catalogue's generated files by name."""
    releases = [entry.release for entry in facts]
    result = {}
    for kind in KINDS:
        if kind == "releases":
            entries = {entry.release: [entry.kinds[kind]["vllm"]] for entry in facts}
            result[f"{kind}.json"] = dump(entries)
        else:
            result[f"{kind}.json"] = dump(merge(releases, {entry.release: entry.kinds[kind] for entry in facts}))
    return result
