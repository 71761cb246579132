# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the documentation gives a reader to copy: commands and YAML, read out of the pages, and who runs each of them."""

from __future__ import annotations

import functools
import itertools
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "inventory-sample"
QUICKSTART = SAMPLES / "data-parallel"
# docs/runbooks has a runner of its own that reads every block of every page (molecule/operations/runbooks.py).
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/*.md", "docs/topologies/*.md", "roles/*/README.md")
PAGES += ("docs/runbooks/README.md",)
# What a block in no language holds is typed; what programs answer is marked as text.
TYPED = ("", "sh", "bash", "shell", "console")
OTHERS = ("yaml", "text", "json", "python", "ini")
# Blocks of these pages are examples of what the linter reads; a test of the linter judges each of them.
ARTEFACTS = ("docs/rules.md",)
PROGRAMS = ("ansible", "ansible-playbook", "ansible-galaxy", "ansible-vault", "conntrack", "curl", "journalctl", "make")
PROGRAMS += ("molecule", "nft", "nginx", "openssl", "pip-compile", "podman", "promtool", "python", "sha256sum")
PROGRAMS += ("skopeo", "ssh-keygen", "systemctl", "uv", "getent", "ip", "ss", "dig", "export", r"[A-Z_]+=\S+")
INLINE = re.compile(rf"(?<![`\w])`((?:{'|'.join(PROGRAMS)}) [^`\n]+)`")
INDENTED = re.compile(rf"(?m)^    ((?:{'|'.join(PROGRAMS)}) .+(?:\n {{5,}}.+)*)")
FENCED = re.compile(r"(?ms)^( *)```(\S*)\n(.*?)^ *```$")


@dataclass(frozen=True)
class Command:
    """A command as a page has it, without the comment behind it."""

    page: str
    text: str


@dataclass(frozen=True)
class Call:
    """What a command asks of ansible-playbook."""

    playbook: str
    variables: Mapping[str, str]
    limit: str


def pages() -> dict[str, str]:
    """Return the pages of the documentation: path in the repository to text."""
    found = sorted({path for pattern in PAGES for path in ROOT.glob(pattern)})
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in found}


def blocks(text: str) -> list[tuple[str, str]]:
    """Return language and text of every fenced block, in order."""
    return [(language, body) for _indent, language, body in FENCED.findall(text)]


def commands(page: str, text: str) -> Iterator[Command]:
    """Yield what a page has a reader type: lines of blocks, indented lines, and programs with arguments within sentences."""
    if page not in ARTEFACTS:
        for language, body in blocks(text):
            if language in TYPED:
                lines = (re.sub(r"(^|\s+)#\s.*$", "", line) for line in body.replace("\\\n", "").splitlines())
                yield from (Command(page, " ".join(line.split())) for line in lines if line.strip())
    rest = FENCED.sub("", text)
    for pattern in (INDENTED, INLINE):
        yield from (Command(page, " ".join(found.split())) for found in pattern.findall(rest))


def declared(page: str, text: str) -> list[Any]:
    """Return every block of YAML of a page, as data."""
    return [] if page in ARTEFACTS else [yaml.safe_load(body) for language, body in blocks(text) if language == "yaml"]


def examples() -> dict[str, list[Any]]:
    """Return the tasks under EXAMPLES of every module, filter and lookup: path to tasks."""
    found = {}
    for path in sorted(ROOT.glob("plugins/*/*.py")):
        match = re.search(r'(?ms)^EXAMPLES = r"""\n(.*?)^"""', path.read_text(encoding="utf-8"))
        if match:
            found[str(path.relative_to(ROOT))] = yaml.safe_load(match[1])
    return found


@functools.cache
def anchors(text: str) -> set[str]:
    """Return the names by which links lead to the headings of a page, as forges and the site make them."""
    titles = re.findall(r"(?m)^#+ (.*)$", FENCED.sub("", text))
    return {re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", title).lower()).replace(" ", "-") for title in titles}


def dead_links(page: Path) -> list[str]:
    """Return the links of a page that lead to no file of the repository, or to no heading there."""
    text = page.read_text(encoding="utf-8")
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", FENCED.sub("", text))):
        file, _hash, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        other = (page.parent / file).resolve() if file else page
        if not other.exists() or (anchor and anchor not in anchors(other.read_text(encoding="utf-8"))):
            found.append(target)
    return found


def typed(command: str, given: Mapping[str, str]) -> str:
    """Return a synopsis as somebody types it who uses all of it, with ``given`` for its placeholders."""
    whole = command.replace("[", "").replace("]", "")
    for name, value in given.items():
        whole = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", value, whole)
    return whole


def call(command: str) -> Call | None:
    """Return what a command asks of a playbook of the collection, or None when it is no such command."""
    words = shlex.split(typed(command, {}))
    playbooks = [word for word in words if re.fullmatch(r"hardened\.vllm\.\w+", word)]
    if words[:1] != ["ansible-playbook"] or len(playbooks) != 1:
        return None
    pairs = list(itertools.pairwise(words))
    variables = dict(value.split("=", 1) for word, value in pairs if word == "-e")
    limits = [value for word, value in pairs if word == "--limit"]
    return Call(playbooks[0].rsplit(".", 1)[1], variables, limits[0] if limits else "")


def table() -> dict[str, Any]:
    """Return who runs what (documents.yml)."""
    text = Path(__file__).with_name("documents.yml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def texts_of_playbook(name: str) -> str:
    """Return a playbook with what it imports and includes, without comments."""
    text = re.sub(r"(?m)^\s*#.*$", "", (ROOT / f"playbooks/{name}.yml").read_text(encoding="utf-8"))
    for other in re.findall(r"(?:import_playbook|include_tasks|import_tasks): ([\w/]+)\.yml", text):
        text += texts_of_playbook(other)
    return text


def known_variables(playbook: str) -> set[str]:
    """Return the names a run of a playbook reads: its own, and every option of the roles."""
    options = set()
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values():
            options |= set(entry.get("options", {}))
    return options | set(re.findall(r"\b[a-z]\w+\b", texts_of_playbook(playbook)))


def hosts_of(inventory: Mapping[str, Any]) -> tuple[dict[str, list[str]], dict[str, dict[str, Any]]]:
    """Return groups and variables by host of an inventory in YAML, as Ansible has them."""
    groups: dict[str, list[str]] = {}
    variables: dict[str, dict[str, Any]] = {}

    def walk(name: str, group: Mapping[str, Any] | None, inherited: Mapping[str, Any]) -> list[str]:
        content = group or {}
        here = {**inherited, **(content.get("vars") or {})}
        members = list(content.get("hosts") or {})
        for host in members:
            variables.setdefault(host, {}).update({**here, **(content["hosts"][host] or {})})
        for child, inner in (content.get("children") or {}).items():
            members += walk(child, inner, here)
        groups[name] = list(dict.fromkeys([*groups.get(name, []), *members]))
        return members

    for name, group in inventory.items():
        walk(name, group, {})
    return groups, variables
