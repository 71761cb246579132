# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our own declaration, judged by the validation, with the lines of its file."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ...core import validate
from ...inventory import GROUPS
from ...problems import Severity
from ..finding import Finding, from_problem
from ..texts import Text, UnreadableError
from .library import Library
from .yaml_reading import List, Map, documents, mapping, plain

_PLACES = re.compile(r"[^.\[\]]+|\[\d+\]")
_INVENTORIES = ("hosts.yml", "hosts.yaml", "inventory.yml", "inventory.yaml")


def read(document: Map, path: str, library: Library, today: datetime.date) -> list[Finding]:
    """Return the problems of a file that sets ``vllm_cluster``.

    Hosts are looked for in the file itself (an inventory) and in the inventory it belongs to. Without hosts only what
    the declaration says of itself is judged, and that is said.
    """
    declared = document.get("vllm_cluster")
    hosts = _hosts(document, path, library)
    cluster = plain(declared) if declared is not None else None
    findings: list[Finding] = []
    for problem in validate(cluster, hosts, today):
        about_hosts = problem.path.startswith(("hosts.", "groups."))
        if about_hosts and not hosts:
            continue
        at = Text("", 1, path) if about_hosts else _locate(document, problem.path, path)
        finding = from_problem(problem, at, path)
        if re.search(r"\{\{|\{%", problem.found):
            # What Ansible puts in only when it runs cannot be judged here.
            finding = Finding(
                finding.path,
                finding.line,
                finding.place,
                "unresolved",
                f"the template {problem.found}",
                "a value of its own",
                "Run playbooks/preflight.yml, which sees the value.",
                Severity.INFO,
            )
        findings.append(finding)
    if not hosts:
        findings.append(
            Finding(
                path,
                1,
                "groups",
                "unresolved",
                "a declaration without its hosts",
                "an inventory beside it",
                "Lint the folder of the inventory, or run playbooks/preflight.yml.",
                Severity.INFO,
            )
        )
    return findings


def _locate(document: Map, place: str, path: str) -> Text:
    """Return the text of the deepest key of ``place`` that is in the file."""
    found = Text("", document.line, path)
    current: Any = document
    for part in _PLACES.findall(place):
        if isinstance(current, Map) and part in current:
            found = current.key(part)
            current = current[part]
        elif isinstance(current, List) and part.startswith("[") and int(part[1:-1]) < len(current):
            current = current[int(part[1:-1])]
            line = current.line if isinstance(current, Text | Map | List) else found.line
            found = Text("", line, path)
        else:
            break
    return found


def _hosts(document: Map, path: str, library: Library) -> dict[str, dict[str, Any]]:
    inventory = document if "all" in document else _inventory(path, library)
    if inventory is None:
        return {}
    roles: dict[str, list[str]] = {}
    nodes: dict[str, Any] = {}
    for group, members in _groups(inventory):
        for name, values in members.items():
            if group in GROUPS and GROUPS[group] not in roles.setdefault(str(name), []):
                roles[str(name)].append(GROUPS[group])
            node = mapping(values).get("vllm_node")
            if node is not None:
                nodes[str(name)] = plain(node)
    return {name: {"roles": held, "node": nodes.get(name)} for name, held in sorted(roles.items()) if held}


def _inventory(path: str, library: Library) -> Map | None:
    above = ["..", "../..", "."]
    for folder in above:
        for name in _INVENTORIES:
            found = library.read(f"{folder}/{name}", path)
            if found is None:
                continue
            try:
                first = documents(found[1], found[0])
            except UnreadableError:
                # The inventory is linted, and refused, for itself.
                return None
            return mapping(first[0]) if first else None
    return None


def _groups(inventory: Mapping[Any, Any]) -> Iterator[tuple[str, Map]]:
    for name, group in inventory.items():
        if isinstance(group, Map):
            yield str(name), mapping(group.get("hosts"))
            yield from _groups(mapping(group.get("children")))
