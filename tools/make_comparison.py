# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page docs/comparison.md, from tools/comparison.yml and the registry of controls; tools/make_docs.py writes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.controls import controls

DATA = Path(__file__).with_name("comparison.yml")
INTRODUCTION = """\
# What else there is

Made from `tools/comparison.yml` and the registry of controls by `make docs`. What is said of others is what their own pages said in November 2026.

| what people use | what it gives | what it leaves to somebody else | together with this collection | sources |
|---|---|---|---|---|
"""
REMOTE = """
## What can be asked from outside

An auditor who has nothing but an address asks a vLLM for these things. Each is covered: it is closed by the controls named, and the audit asks
it too, from outside, of the gateway and of every server it finds. A test proves for every route of the table that it is asked and that
vLLM's own answer without a key is found.

| rule | the question | routes | controls |
|---|---|---|---|
"""
OURS = """
## What no remote auditor sees

These {count} controls are about what has no answer on the network, or one that only a member gets. They need the plan, a look at the host, or a place
inside: of the {all} controls of the registry none of the rules above concerns them.

| control | what holds | how it is looked at |
|---|---|---|
"""


def comparison() -> dict[str, Any]:
    """Return the data."""
    found: dict[str, Any] = yaml.safe_load(DATA.read_text(encoding="utf-8"))
    return found


def page() -> str:
    """Return docs/comparison.md."""
    data = comparison()
    asked = {name for rule in data["remote"] for name in rule["controls"]}
    ours = [control for control in controls().values() if control.id not in asked]
    return "".join(
        [
            INTRODUCTION,
            *map(_other, data["others"]),
            REMOTE,
            *map(_rule, data["remote"]),
            OURS.format(count=len(ours), all=len(controls())),
            *(f"| {_link(one.id)} | {one.title} | {', '.join(f'`{name}`' for name in one.checks)} |\n" for one in ours),
        ]
    )


def _other(entry: Mapping[str, Any]) -> str:
    sources = " ".join(f"[{number}]({address})" for number, address in enumerate(entry["sources"], 1))
    cells = [f"**{entry['name']}**", entry["gives"], entry["leaves"], entry["together"], sources]
    return f"| {' | '.join(cells)} |\n"


def _rule(entry: Mapping[str, Any]) -> str:
    return f"| {' | '.join(_cells(entry))} |\n"


def _cells(entry: Mapping[str, Any]) -> Iterator[str]:
    yield entry["rule"]
    yield f"{entry['asks']}?"
    yield " ".join(f"`{route}`" for route in entry.get("routes", ()))
    yield " ".join(map(_link, entry["controls"]))


def _link(name: str) -> str:
    return f"[{name}](controls.md#{name.lower()})"
