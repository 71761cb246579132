# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write docs/rules.md, the rules of the linter, from the catalogue.

Usage: PYTHONPATH=.cache python tools/make_rules.py [--check]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.rules import Rule, ValueRule, described, value_rules

PAGE = Path(__file__).resolve().parent.parent / "docs" / "rules.md"

INTRODUCTION = """\
# Rules of the linter

Made from the catalogue (`plugins/plugin_utils/catalogue/data/`: `options.yml`, `variables.yml`, `fields.yml`,
`rules/`) by `tools/make_rules.py`. The examples are run as tests.

    ansible-playbook hardened.vllm.lint -e lint_paths=deploy,units [-e lint_format=text|json|sarif|junit|github]
        [-e lint_report=FILE] [-e lint_severity=error|warning|info] [-e lint_vllm_version=X]

The play fails when there is a finding of `lint_severity` (error, when it is left out) or worse. The release of vLLM
is read from the tag of an image or a pin such as `vllm==0.32.0`; else `lint_vllm_version` counts, else the newest known
one.
"""
_CONDITIONS = {
    "set": "is set",
    "given": "is given",
    "on": "is on",
    "off": "is off, 0 or less",
    "missing": "is not there",
    "empty": "is empty",
    "wildcard": "means every interface",
    "loopback": "is a loopback address",
    "public": "is a public address",
    "bypass": "is a path the key check is misled by",
    "star": "contains `*`",
    "shared": "is below `/tmp`, `/var/tmp` or `/dev/shm`",
    "inexact": "is not written with `=`",
    "scheme": "is an address with a scheme",
    "not_hosts": "is no exact host name",
    "not_commit": "is no commit",
    "literal": "is written in the artefact",
    "not": "is not `{}`",
    "not_one_of": "is none of {}",
    "one_of": "is one of {}",
    "word": "is one of {}",
    "above": "is above {}",
    "below": "is below {}",
}
_FENCES = {"systemd": "ini", "quadlet": "ini", "environment": "sh", "command": "sh", "script": "sh"}


def page() -> str:
    """Return docs/rules.md."""
    rules = described()
    contents = [f"- [`{name}`](#{name}) {rule.title}" for name, rule in rules.items()]
    return "\n".join([INTRODUCTION, *contents, "", *(line for rule in rules.values() for line in _section(rule))])


def _section(rule: Rule) -> Iterator[str]:
    yield from (f"## {rule.rule}", "", f"{rule.title}. Source: {rule.source}.", "")
    if rule.severity is not None:
        yield from (f"Severity: {rule.severity.name.lower()}. Expected: {rule.expected}. {rule.remedy}", "")
    rows = [_row(row) for row in value_rules() if row.rule == rule.rule]
    if rows:
        yield from ("| found | severity | because | mend |", "|---|---|---|---|", *rows, "")
    yield from ("Bad:", "", *_example(rule.bad), "", "Good:", "", *_example(rule.good), "")


def _row(row: ValueRule) -> str:
    words = ", ".join(f"`{item}`" for item in row.value) if isinstance(row.value, list) else row.value
    name = f"`--{row.name}`" if row.name[0].islower() else f"`{row.name}`"
    found = f"{name} {_CONDITIONS[row.condition].format(words)}"
    limits = [f"only with {', '.join(sorted(row.when))}"] if row.when else []
    limits += [f"not with {', '.join(sorted(row.unless))}"] if row.unless else []
    limits += [f"from {row.since}"] if row.since else []
    limits += [f"before {row.before}"] if row.before else []
    shown = f" ({'; '.join(limits)})" if limits else ""
    return f"| {found}{shown} | {row.severity.name.lower()} | {row.why} | {row.remedy} |"


def _example(example: Mapping[str, Any]) -> Iterator[str]:
    release = f" (vLLM {example['release']})" if "release" in example else ""
    if release or "path" in example:
        yield from (f"`{example.get('path', example['kind'])}`{release}", "")
    yield from (f"```{_FENCES.get(example['kind'], 'yaml')}", *example["text"].rstrip("\n").split("\n"), "```")


def main() -> int:
    """Write the page, or with --check say that it is stale; the exit code is 1 then."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail when the page is stale")
    if not parser.parse_args().check:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    fresh = PAGE.exists() and PAGE.read_text(encoding="utf-8") == page()
    if not fresh:
        print("stale: rules.md; run tools/make_rules.py", file=sys.stderr)
    return int(not fresh)


if __name__ == "__main__":
    sys.exit(main())
