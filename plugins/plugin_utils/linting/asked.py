# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The questions Ansible puts to the linter: what came in is checked here, and refused in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..problems import Severity, did_you_mean, shown
from ..report.formats import FORMATS
from .artefacts import lint_paths, lint_text
from .finding import Finding, settled
from .lint import judge, process_of
from .reading.kinds import KINDS
from .rules import version

_PROCESS = frozenset({"argv", "environment", "path", "release"})
_TEXT = frozenset({"text", "kind", "path", "release"})


class InvalidQuestionError(ValueError):
    """A question the linter cannot answer; the message says what was found and what was expected."""


def lint_input(
    given: Any, kind: str | None = None, path: str = "", release: str | None = None, severity: str = "info"
) -> list[Finding]:
    """Return the findings in ``given``: a text, a mapping with ``argv`` or ``text``, or a list of these.

    What is not said in a mapping itself is taken from the other arguments. Raises InvalidQuestionError.
    """
    lowest = _severity(severity)
    items = list(given) if isinstance(given, list | tuple) else [given]
    findings = [finding for item in items for finding in _one(item, kind, path, release)]
    return [finding for finding in settled(findings) if finding.severity >= lowest]


def lint_files(paths: Sequence[Any], release: str | None = None) -> dict[str, Any]:
    """Return ``{"findings": [...], "read": [...], "skipped": [...]}`` for files and folders on this machine."""
    for path in paths:
        if not isinstance(path, str) or not path or "\0" in path:
            raise InvalidQuestionError(f"a path must be a text that is not empty, found {shown(path)}")
    if not paths:
        raise InvalidQuestionError("no path was given")
    result = lint_paths([str(path) for path in paths], _release(release))
    return {
        "findings": [finding.as_dict() for finding in result.findings],
        "read": sorted(set(result.read)),
        "skipped": sorted(set(result.skipped)),
    }


def report(given: Any, name: str) -> str:
    """Return the findings in ``given`` (a list, or what ``lint_files`` returned) in the form ``name``."""
    if name not in FORMATS:
        raise InvalidQuestionError(f"unknown format {shown(name)}. {did_you_mean(str(name), FORMATS)}")
    findings = given.get("findings") if isinstance(given, Mapping) else given
    read = given.get("read", []) if isinstance(given, Mapping) else []
    if not isinstance(findings, list | tuple):
        raise InvalidQuestionError(f"findings must be a list, found {type(findings).__name__}")
    try:
        return FORMATS[name]([Finding.from_dict(finding) for finding in findings], [str(path) for path in read])
    except ValueError as error:
        raise InvalidQuestionError(str(error)) from error


def _one(item: Any, kind: str | None, path: str, release: str | None) -> list[Finding]:
    if isinstance(item, str):
        return lint_text(item, _kind(kind), path, _release(release))
    if not isinstance(item, Mapping):
        raise InvalidQuestionError(f"an input must be a text or a dictionary, found {type(item).__name__}")
    allowed = _TEXT if "text" in item else _PROCESS
    for key in item:
        if key not in allowed:
            raise InvalidQuestionError(f"unknown key {shown(key)}. {did_you_mean(str(key), _TEXT | _PROCESS)}")
    path, release = str(item.get("path", path)), _release(item.get("release", release))
    if "text" in item:
        if not isinstance(item["text"], str):
            raise InvalidQuestionError(f"text must be a text, found {type(item['text']).__name__}")
        return lint_text(item["text"], _kind(item.get("kind", kind)), path, release)
    argv, environment = item.get("argv"), item.get("environment", {})
    if not isinstance(argv, list | tuple):
        raise InvalidQuestionError(f"argv must be a list of words, found {shown(argv)}")
    if not isinstance(environment, Mapping):
        raise InvalidQuestionError(f"environment must be a dictionary, found {type(environment).__name__}")
    return judge(process_of(argv, environment, ""), release=release, path=path)


def _kind(kind: Any) -> str | None:
    if kind is None or kind in KINDS:
        return None if kind is None else str(kind)
    raise InvalidQuestionError(f"unknown kind {shown(kind)}. {did_you_mean(str(kind), KINDS)}")


def _release(release: Any) -> str | None:
    if release is None or release == "":
        return None
    if version(str(release)) is None:
        raise InvalidQuestionError(f"the release must be a version such as 0.32.0, found {shown(release)}")
    return str(release)


def _severity(word: Any) -> Severity:
    try:
        return Severity.parse(str(word))
    except ValueError as error:
        raise InvalidQuestionError(str(error)) from error
