# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What kind of artefact a file or a text is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ... import catalogue
from ..spelling import resolve
from .yaml_reading import Map, walk

KINDS = (
    "command",
    "compose",
    "config",
    "declaration",
    "dockerfile",
    "environment",
    "kubernetes",
    "quadlet",
    "script",
    "systemd",
)
YAML_KINDS = frozenset({"compose", "config", "declaration", "kubernetes"})
_YAML = (".yaml", ".yml", ".json")
_NAMED = (
    (re.compile(r"\.(service|service\.d/[^/]+\.conf)$"), "systemd"),
    (re.compile(r"\.(container|container\.d/[^/]+\.conf)$"), "quadlet"),
    (re.compile(r"(^|/)(\.env(\.[\w.-]+)?|[\w.-]*\.env|env|environment)$"), "environment"),
    (re.compile(r"\.(sh|bash|zsh|ksh)$"), "script"),
    (re.compile(r"(^|/)(Dockerfile|Containerfile)([._-][\w.-]+)?$|\.(dockerfile|containerfile)$"), "dockerfile"),
)
_VALUES = re.compile(r"(^|[/._-])values([._-][\w.-]*)?\.ya?ml$")
_SHEBANG = re.compile(r"#!.*\b(sh|bash|dash|zsh|ksh)\b")
_ASSIGNMENT = re.compile(r"\s*(#.*|(export\s+)?[A-Za-z_][A-Za-z0-9_]*=.*)?")


def by_name(path: str) -> str | None:
    """Return the kind a path tells, ``yaml`` when the content must decide, None when it tells nothing."""
    for pattern, kind in _NAMED:
        if pattern.search(path):
            return kind
    return "yaml" if path.endswith(_YAML) else None


def are_values(path: str, documents: Sequence[Any]) -> bool:
    """Tell whether YAML of no known kind is named, or looks, like the values of a chart."""
    if _VALUES.search(path):
        return True
    return any({"repository", "tag"} <= held.keys() for document in documents for _place, held in walk(document))


def by_content(content: str) -> str:
    """Return the kind of a text without a telling name; what is nothing else is taken for a script."""
    if _SHEBANG.match(content):
        return "script"
    if re.search(r"(?m)^FROM +[\w./:@${}-]+", content) and re.search(r"(?m)^(RUN|CMD|ENTRYPOINT|ENV|COPY) ", content):
        return "dockerfile"
    section = re.search(r"(?m)^\[(\w+)\]\s*$", content)
    if section is not None and re.search(r"(?m)^[A-Za-z]+\s*=", content):
        return "quadlet" if re.search(r"(?m)^\[Container\]\s*$", content) else "systemd"
    lines = content.splitlines()
    if all(_ASSIGNMENT.fullmatch(line) for line in lines) and any("=" in line for line in lines):
        return "environment"
    if re.search(r"(?m)^\s*(-\s+)?[\w.'\"/-]+:(\s|$)", content) and not re.search(
        r"(?m)^[^#:\n]*\bvllm +serve\b", content
    ):
        return "yaml"
    return "yaml" if content.lstrip().startswith(("{", "---")) else "script"


def of_documents(documents: Sequence[Any]) -> str | None:
    """Return the kind of YAML documents, None when they are none that starts vLLM."""
    maps = [document for document in documents if isinstance(document, Map)]
    if any("apiVersion" in document and "kind" in document for document in maps):
        return "kubernetes"
    if any(isinstance(document.get("services"), Map) for document in maps):
        return "compose"
    if any("vllm_cluster" in document for document in maps):
        return "declaration"
    if len(maps) == 1 and _is_config(maps[0]):
        return "config"
    return None


def _is_config(document: Map) -> bool:
    known = [key for key in document if resolve(f"--{key}")[0] is not None]
    exact = any(str(key).replace("_", "-") in catalogue.options() for key in known)
    # `model` and `port` alone are in every second YAML file: more than half must be options, two or a rare one.
    return exact and len(known) * 2 > len(document) and (len(known) > 1 or known[0] not in ("model", "port", "host"))
