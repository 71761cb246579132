# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rebuild the catalogue from the sources of every release, and report what has to be looked at."""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
from pathlib import Path

import yaml

from .build import Facts, files, read_all
from .docs import pages
from .fetch import FetchError

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "plugins/plugin_utils/catalogue/data/source"
PARSER = ROOT / "plugins/plugin_utils/catalogue/data/parser.json"
EXPLAINED = Path(__file__).with_name("explained.yml")


def undecided(facts: list[Facts]) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Return what could not be decided: explained and not, as sentence to releases, and explanations nothing needs."""
    patterns = [entry["like"] for entry in yaml.safe_load(EXPLAINED.read_text(encoding="utf-8"))]
    met: dict[str, list[str]] = {}
    for entry in facts:
        for sentence in entry.undecided:
            met.setdefault(sentence, []).append(entry.release)
    explained: dict[str, str] = {}
    unexplained: dict[str, str] = {}
    for sentence, where in sorted(met.items()):
        known = any(fnmatch.fnmatchcase(sentence, pattern) for pattern in patterns)
        (explained if known else unexplained)[sentence] = where[0] if len(where) == 1 else f"{where[0]} to {where[-1]}"
    idle = [pattern for pattern in patterns if not fnmatch.filter(met, pattern)]
    return explained, unexplained, idle


def differences_from_parser(facts: list[Facts]) -> list[str]:
    """Return how the options read from a source differ from those the real parser of that release was seen to have."""
    seen = json.loads(PARSER.read_text(encoding="utf-8"))
    (read,) = (entry.kinds["flags"] for entry in facts if entry.release == seen["release"])
    found = [f"--{name}: read, not in the parser" for name in read.keys() - seen["options"].keys()]
    found += [f"--{name}: in the parser, not read" for name in seen["options"].keys() - read.keys()]
    for name in read.keys() & seen["options"].keys():
        for key, value in seen["options"][name].items():
            if read[name].get(key, value) != value:
                found.append(f"--{name}: {key} read as {read[name][key]!r}, the parser has {value!r}")
    spelled = {alias: name for name, entry in read.items() for alias in entry["aliases"]}
    if spelled != seen["aliases"]:
        found.append(f"aliases: {sorted(spelled.items() ^ seen['aliases'].items())}")
    return sorted(found)


def _write(wanted: dict[Path, str], check: bool) -> list[str]:
    changed = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if not check:
        for path in changed:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
    return [str(path.relative_to(ROOT)) for path in changed]


def _judgement_faults() -> list[str]:
    # Read after the files are written: what nobody judged shows there.
    from ansible_collections.hardened.vllm.plugins.plugin_utils.catalogue import history, judgement

    history.load.cache_clear()
    return [f"not judged: {name}" for name in judgement.unjudged()] + [f"stale: {name}" for name in judgement.stale()]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code is 0 when nothing is left to do."""
    parser = argparse.ArgumentParser(prog="python tools/catalogue", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; say what would change")
    parser.add_argument(
        "--docs", action="store_true", help="only the pages made from the stored catalogue; nothing is fetched"
    )
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache/wheels", help="where the text of wheels is kept")
    parser.add_argument("--all", action="store_true", help="also list what is undecided and explained")
    given = parser.parse_args(arguments)
    faults: list[str] = []
    changed: list[str] = []
    if not given.docs:
        try:
            facts = read_all(given.cache)
        except (FetchError, ValueError) as error:
            print(f"catalogue: {error}", file=sys.stderr)
            return 2
        changed += _write({SOURCE / name: text for name, text in files(facts).items()}, given.check)
        explained, unexplained, idle = undecided(facts)
        _report(facts, explained if given.all else {}, len(explained))
        faults += [f"undecided: {sentence} ({where})" for sentence, where in unexplained.items()]
        faults += [f"explained for nothing: {pattern}" for pattern in idle]
        faults += [f"parser: {text}" for text in differences_from_parser(facts)]
    faults += _judgement_faults()
    changed += _write({ROOT / "docs" / name: text for name, text in pages().items()}, given.check)
    for path in changed:
        print(f"{'would change' if given.check else 'changed'}: {path}")
    for fault in faults:
        print(fault)
    return 1 if faults or (given.check and changed) else 0


def _report(facts: list[Facts], explained: dict[str, str], count: int) -> None:
    for entry in facts:
        numbers = ", ".join(
            f"{len(entry.kinds[kind])} {kind}" for kind in ("routes", "flags", "variables", "fields", "connectors")
        )
        print(f"{entry.release}: {numbers}")
    for sentence, where in explained.items():
        print(f"explained: {sentence} ({where})")
    print(f"undecided and explained in {EXPLAINED.name}: {count}")
