# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The registry of controls: what is protected, why, by which switch, how it is looked at and how it is mended.

The data are ``catalogue/data/controls/*.yml``, one file for each family, and ``catalogue/data/guide.yml``, what vLLM's security
guide recommends.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..catalogue.history import DATA, load
from ..problems import Severity


@dataclass(frozen=True)
class Recommendation:
    """One recommendation of vLLM's security guide; ``differs`` is what 0.32.0 does otherwise than it says, or empty."""

    id: str
    edition: str
    section: str
    text: str
    differs: str = ""


@dataclass(frozen=True)
class Control:
    """One control.

    It serves recommendations of the guide (``guide``) or a ``fact`` the guide does not know. ``aisvs`` are requirements of OWASP
    AISVS 1.0, chapter C4, ``nsa`` sections of "Deploying AI Systems Securely". ``switch`` is a key of the declaration
    (``vllm_cluster.x``), a variable of a role, or ``always``. ``rules`` are the linter's rules whose findings fall under it, ``checks`` what
    the audit looks at, ``tests`` prove it (``path::name``). ``remedy`` is for what this collection set up, ``foreign`` for everything
    else where that differs.
    """

    id: str
    title: str
    severity: Severity
    switch: str
    checks: tuple[str, ...]
    tests: tuple[str, ...]
    remedy: str
    foreign: str = ""
    guide: tuple[str, ...] = ()
    fact: str = ""
    aisvs: tuple[str, ...] = ()
    nsa: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()


@functools.cache
def recommendations() -> dict[str, Recommendation]:
    """Return what the guide recommends, by id."""
    return {entry["id"]: Recommendation(**{**entry, "edition": str(entry["edition"])}) for entry in load("guide.yml")}


@functools.cache
def controls() -> dict[str, Control]:
    """Return every control by id, the families in the order of their files' names."""
    found: dict[str, Control] = {}
    for file in sorted((DATA / "controls").glob("*.yml")):
        for entry in load(f"controls/{file.name}"):
            lists = ("checks", "tests", "guide", "aisvs", "nsa", "rules")
            parts = {name: tuple(entry[name]) for name in lists if name in entry}
            found[entry["id"]] = Control(**{**entry, **parts, "severity": Severity.parse(entry["severity"])})
    return found


@functools.cache
def control_of_rule(rule: str) -> str:
    """Return the control a rule of the linter falls under; KeyError for a rule the registry does not know."""
    return next((control.id for control in controls().values() if rule in control.rules), None) or _unknown(rule)


def _unknown(rule: str) -> str:
    raise KeyError(f"rule {rule} belongs to no control of the registry")


def waived_rules(waivers: Iterable[Mapping[str, Any]], host: str | None = None) -> set[str]:
    """Return the rules declared ``waivers`` cover on ``host`` (None: everywhere), those of a waived control included."""
    found: set[str] = set()
    for waiver in waivers:
        hosts = waiver.get("hosts")
        if not hosts or host in hosts:
            name = str(waiver.get("rule"))
            control = controls().get(name)
            found |= {name, *(control.rules if control is not None else ())}
    return found
