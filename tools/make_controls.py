# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page docs/controls.md, from the registry of controls; tools/make_docs.py writes it."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.controls import Control, controls, recommendations

INTRODUCTION = """\
# Controls

Made from the registry (`plugins/plugin_utils/catalogue/data/controls/`, `guide.yml`) by `make docs`. A test proves that every control has a
switch, a check of the audit and tests that exist, that every rule of the linter is in one control, and that every recommendation of vLLM's
security guide has a control.

- *Switch* is the key of the declaration or the variable that turns it; `always` cannot be turned off, only [waived](audit.md#waivers).
- *AISVS* are requirements of OWASP AISVS 1.0, chapter C4 (v1.0-C4.3.1 is written C4.3.1 here); *NSA/CISA* are sections of "Deploying AI
  Systems Securely" (April 2024). A control serves a requirement in part; neither is claimed to be met as a whole by this collection.
- Severity is that of the control's own findings; the linter's rules have [their own](rules.md).

## What the guide recommends

The guide is `docs/usage/security.md` of vLLM; *edition* is when it says so first. Where vLLM 0.32.0 differs, what was observed on the running program or
read in its source counts.

| id | edition | recommendation | controls | where 0.32.0 differs |
|---|---|---|---|---|
"""
FAMILIES = {
    "NET": "Isolation",
    "GW": "Gateway",
    "ENG": "Engine",
    "VER": "Releases",
    "HOST": "Files, accounts and units",
    "OUT": "Seen from outside",
}


def page() -> str:
    """Return docs/controls.md."""
    return INTRODUCTION + "\n".join([*_guide(), "", *_families()]) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _guide() -> Iterator[str]:
    for one in recommendations().values():
        serving = [control.id for control in controls().values() if one.id in control.guide]
        links = " ".join(f"[{name}](#{name.lower()})" for name in serving)
        yield f"| {one.id} | {one.edition} | {_cell(one.text)} ({one.section}) | {links} | {_cell(one.differs)} |"


def _families() -> Iterator[str]:
    for family, title in FAMILIES.items():
        mine = [control for control in controls().values() if control.id.startswith(f"{family}-")]
        yield from [f"## {title}", ""]
        yield from ["| control | severity | switch | checks of the audit |", "|---|---|---|---|"]
        for control in mine:
            link = f"[{control.id}](#{control.id.lower()}) {_cell(control.title)}"
            checks = ", ".join(f"`{name}`" for name in control.checks)
            yield f"| {link} | {control.severity.name.lower()} | `{control.switch}` | {checks} |"
        yield ""
        for control in mine:
            yield from _control(control)


def _control(control: Control) -> Iterator[str]:
    yield from [f"### {control.id}", "", f"{control.title}.", ""]
    serves = [f'{name} "{recommendations()[name].text}"' for name in control.guide]
    if control.fact:
        serves.append(control.fact.rstrip("."))
    yield f"- Serves: {'; '.join(serves)}."
    if control.aisvs:
        yield f"- AISVS: {', '.join(control.aisvs)}."
    if control.nsa:
        yield f"- NSA/CISA: {'; '.join(control.nsa)}."
    if control.rules:
        yield f"- Rules of the linter: {', '.join(f'[{rule}](rules.md#{rule})' for rule in control.rules)}."
    yield f"- Mend: {control.remedy}"
    if control.foreign:
        yield f"- Mend what this collection did not set up: {control.foreign}"
    yield f"- Tests: {', '.join(f'`{place}`' for place in control.tests)}."
    yield ""
