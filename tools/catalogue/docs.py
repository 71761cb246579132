# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pages made from the catalogue: docs/routes.md and docs/releases.md."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from ansible_collections.hardened.vllm.plugins.plugin_utils import catalogue
from ansible_collections.hardened.vllm.plugins.plugin_utils.catalogue import history
from ansible_collections.hardened.vllm.plugins.plugin_utils.catalogue.advisories import (
    Advisory,
    advisories,
    all_advisories,
)
from ansible_collections.hardened.vllm.plugins.plugin_utils.catalogue.judgement import judged
from ansible_collections.hardened.vllm.plugins.plugin_utils.catalogue.renames import advice

AUDIENCES = {
    "user": "Users, through the gateway",
    "user_if_asked": "Users, where somebody asks for it",
    "monitor": "Monitoring",
    "never": "Nobody",
}
MADE = "Made by `python tools/catalogue` from the catalogue (`plugins/plugin_utils/catalogue`); do not edit.\n"
WORDS = {
    "routes": "routes",
    "flags": "options",
    "connectors": "connectors",
    "fields": "fields of configuration classes",
}


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """Return the pages by name."""
    return {"routes.md": routes_page(), "releases.md": releases_page()}


def _range(entry: dict[str, object]) -> str:
    until = entry["until"]
    return f"from {entry['since']}" if until is None else f"{entry['since']} until {until}"


def routes_page() -> str:
    """Return docs/routes.md."""
    newest = catalogue.newest()
    parts = [
        "# HTTP routes of vLLM\n",
        MADE,
        f"The routes of {newest}, by who may see them. *Key* tells whether `--api-key` guards a route; *when* names the options,",
        "variables and tasks of the model that bring it. `MOUNT` answers everything below its path.\n",
    ]
    for audience, title in AUDIENCES.items():
        rows = [
            (
                f"{route.method} `{route.path}`",
                "" if route.when == "always" else f"`{route.when}`",
                "yes" if route.guarded else "**no**",
                route.danger,
                route.severity,
                route.why,
                route.group or "",
            )
            for route in catalogue.routes(newest)
            if route.audience == audience
        ]
        parts += [f"## {title}\n", _table(("route", "when", "key", "danger", "severity", "why", "group"), rows)]
    parts += [
        "## Other releases\n",
        "Routes that came later than the first known release, went, or depended on something else.\n",
    ]
    changed = []
    for name in sorted(history.names("routes"), key=lambda item: (item.split()[1], item)):
        ranges = [dict(entry) for entry in history.ranges("routes", name)]
        if len(ranges) > 1 or ranges[0]["since"] != catalogue.releases()[0] or ranges[0]["until"] is not None:
            method, path = name.split()
            changed.append((f"{method} `{path}`", "<br>".join(f"{_range(entry)}: {entry['when']}" for entry in ranges)))
    parts.append(_table(("route", "when"), changed))
    parts += ["## Other servers\n", "HTTP servers that vLLM starts beside the API. None of them asks for a key.\n"]
    parts.append(_table(("file and route", "releases", "why"), _servers()))
    return "\n".join(parts)


def _servers() -> Iterator[tuple[str, str, str]]:
    for name in sorted(history.names("servers")):
        found = judged("servers", name)
        ranges = ", ".join(_range(dict(entry)) for entry in history.ranges("servers", name))
        yield f"`{name}`", ranges, found.why if found else ""


def releases_page() -> str:
    """Return docs/releases.md."""
    judged_releases = {entry["release"]: entry for entry in history.load("releases.yml")}
    rows = []
    for release in reversed(catalogue.releases()):
        guard = history.release_facts(release)["guard"]
        known = advisories(release)
        worst = sum(entry.severity in ("critical", "high") for entry in known)
        rows.append(
            (
                release,
                " ".join(f"`{prefix}`" for prefix in guard["prefixes"]),
                "request" if guard["path_from"] == "scope" else "**Host header**",
                "constant time" if guard["constant_time"] else "**tells by time**",
                str(len(catalogue.routes(release))),
                str(len(catalogue.options(release))),
                str(len(catalogue.variables(release))),
                "accepted" if "kv_ip" in catalogue.fields("KVTransferConfig", release) else "refused",
                f"{len(known)} ({worst} high)",
                judged_releases[release]["evidence"],
            )
        )
    head = (
        "release",
        "key guards",
        "path from",
        "keys compared",
        "routes",
        "options",
        "variables",
        "kv_ip",
        "known holes",
        "evidence",
    )
    parts = [
        "# Releases of vLLM\n",
        MADE,
        "The newest patch of every minor release. *Evidence* says whether the program itself was observed or only its source was read;",
        "*known holes* are the advisories that concern the release.\n",
        _table(head, rows),
        "## What changed\n",
    ]
    for before, release in reversed(list(zip(catalogue.releases(), catalogue.releases()[1:], strict=False))):
        parts += [f"### {release}\n", *_changes(before, release, judged_releases[release]["notes"])]
    parts += ["## Known vulnerabilities\n", _advisory_table()]
    return "\n".join(parts)


def _changes(before: str, release: str, notes: list[str]) -> Iterator[str]:
    lines = [f"- {note}" for note in notes]
    for kind, word in WORDS.items():
        old, new = history.at(kind, before), history.at(kind, release)
        came, gone = sorted(new.keys() - old.keys()), sorted(old.keys() - new.keys())
        shown = "`--{}`" if kind == "flags" else "`{}`"
        if came:
            lines.append(f"- New {word}: {', '.join(shown.format(name) for name in came)}.")
        for name in gone:
            told = advice(kind, name, release)
            lines.append(f"- Gone: {shown.format(name)}. {told.remedy if told else ''}".rstrip())
        if kind == "routes":
            for name in sorted(old.keys() & new.keys()):
                if old[name]["when"] != new[name]["when"]:
                    lines.append(f"- `{name}` now when: {new[name]['when']}.")
    for name in sorted(history.at("variables", before).keys() - history.at("variables", release).keys()):
        told = advice("variables", name, release)
        if told and told.remedy:
            lines.append(f"- Gone: `{name}`. {told.remedy}")
    yield "\n".join(lines) + "\n"


def _affected(entry: Advisory) -> str:
    low = f"from {entry.since}" if entry.since else "all"
    if entry.fixed:
        high = f"fixed in {entry.fixed}"
    else:
        high = f"up to {entry.last} at least" if entry.last else "no fix known"
    return f"{low}, {high}{'' if entry.sure else ' (not confirmed)'}"


def _advisory_table() -> str:
    rows = []
    for entry in all_advisories():
        rows.append(
            (
                " ".join((entry.id, *entry.aliases)),
                entry.package,
                f"{entry.severity}{f' ({entry.score})' if entry.score else ''}",
                _affected(entry),
                f"{entry.kind}: {entry.what}",
                entry.mitigation,
                f"`{json.dumps(list(entry.mitigated_by))}`" if entry.mitigated_by else "",
            )
        )
    head = ("id", "package", "severity", "affected", "what", "mitigation", "decided by arguments and environment")
    return _table(head, rows)
