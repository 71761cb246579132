# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads a lock: a requirements file in which every package is pinned exactly and by hash."""

from __future__ import annotations

import contextlib
import re

with contextlib.suppress(ImportError):  # ansible-core needs it; only the bare interpreter of ansible-test lacks it
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name
    from packaging.version import InvalidVersion, Version

_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
_COMMENT = re.compile(r"(^|\s)#.*$")


class LockError(ValueError):
    """A lock that cannot be used. The text names every line that is wrong."""


def read(text: str, package: str, release: str) -> list[str]:
    """Return the requirements of a lock, one ``name==version --hash=sha256:... [...]`` each, in the file's order.

    Continued lines are joined and comments dropped. Raises LockError when a line is anything else, such as an option, an
    address or a pin without a hash, or when ``package`` is not pinned at ``release`` (PEP 440, local part aside).
    """
    problems, lines, pinned = [], [], {}
    for number, words in _logical_lines(text):
        requirement = _requirement(words[0])
        if requirement is None:
            problems.append(f"line {number}: found {words[0]!r}; expected an exact pin such as torch==2.13.0")
        elif len(words) == 1 or not all(_HASH.fullmatch(word) for word in words[1:]):
            problems.append(
                f"line {number}: {words[0]}: expected only --hash=sha256:<64 hexadecimal digits> after the pin"
            )
        else:
            pinned[canonicalize_name(requirement.name)] = next(iter(requirement.specifier)).version
            lines.append(" ".join(words))
    found = pinned.get(canonicalize_name(package))
    if not problems and (found is None or not _same(found, release)):
        problems.append(f"{package} is {'not pinned' if found is None else f'pinned at {found}'}; expected {release}")
    if problems:
        raise LockError("\n".join(problems))
    return lines


def _logical_lines(text: str) -> list[tuple[int, list[str]]]:
    """Return (number of the first line, words) for each line of a requirements file that says something."""
    result: list[tuple[int, list[str]]] = []
    continued = False
    for number, line in enumerate(text.splitlines(), 1):
        stripped = _COMMENT.sub("", line).rstrip()
        words = stripped.removesuffix("\\").split()
        if continued and result:
            result[-1][1].extend(words)
        elif words:
            result.append((number, words))
        continued = stripped.endswith("\\")
    return result


def _requirement(word: str) -> Requirement | None:
    """Return the requirement when it is one exact pin without extras, marker or address."""
    try:
        requirement = Requirement(word)
    except InvalidRequirement:
        return None
    pins = list(requirement.specifier)
    exact = len(pins) == 1 and pins[0].operator == "==" and not pins[0].version.endswith(".*")
    return requirement if exact and not (requirement.url or requirement.extras or requirement.marker) else None


def _same(found: str, release: str) -> bool:
    try:
        return Version(found).public == Version(release).public
    except InvalidVersion:
        return False
