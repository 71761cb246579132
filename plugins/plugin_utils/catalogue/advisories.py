# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which known vulnerabilities a release has. Versions by PEP 440; a pre-release of the fix is not the fix."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .history import load

with contextlib.suppress(ImportError):  # ansible-core needs it; only the bare interpreter of ansible-test lacks it
    from packaging.version import InvalidVersion, Version

_WORDS = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.0, "low"))


@dataclass(frozen=True)
class Advisory:
    """One vulnerability of ``package``.

    Affected are releases from ``since`` (None: from the first) up to but without ``fixed``, or up to ``last`` where no fix is
    known. ``sure`` is False when the record does not confirm the range. ``severity`` is critical, high, medium, low or
    unknown, ``score`` the highest published CVSS base score. ``mitigated_by`` are alternatives that the arguments and the
    environment of a process decide (mitigation.py); ``outside`` tells that something else mitigates as well.
    """

    id: str
    aliases: tuple[str, ...]
    package: str
    kind: str
    severity: str
    score: float | None
    since: str | None
    fixed: str | None
    last: str | None
    sure: bool
    what: str
    mitigation: str
    mitigated_by: tuple[Mapping[str, Any], ...]
    outside: bool
    evidence: str

    def affects(self, version: Version) -> bool:
        """Tell whether ``version`` of the package is affected, as far as the record says."""
        if self.since is not None and Version(version.base_version) < Version(Version(self.since).base_version):
            return False
        if self.fixed is not None:
            return version < Version(self.fixed)
        return self.last is None or _up_to(version, self.last)


def _up_to(version: Version, last: str) -> bool:
    """Tell whether ``version`` is not newer than ``last``, compared to the precision ``last`` is written with."""
    limit = Version(last)
    if limit.is_postrelease:
        return version <= limit
    return version.release[: len(limit.release)] <= limit.release


@functools.cache
def all_advisories() -> tuple[Advisory, ...]:
    """Return every known advisory, in the order of the data."""
    found = []
    for entry in load("advisories.yml"):
        score = entry.get("score")
        word = entry.get("severity") or next(word for low, word in _WORDS if score is not None and score >= low)
        for name in entry["ids"]:
            found.append(
                Advisory(
                    name,
                    tuple(entry.get("aliases", ())),
                    entry.get("package", "vllm"),
                    entry["kind"],
                    word,
                    score,
                    entry["since"],
                    entry.get("fixed"),
                    entry.get("last"),
                    entry.get("sure", True),
                    entry["what"],
                    entry["mitigation"],
                    tuple(entry.get("mitigated_by", ())),
                    entry.get("outside", False),
                    entry["evidence"],
                )
            )
    return tuple(found)


@functools.cache
def advisories(version: str, package: str = "vllm") -> tuple[Advisory, ...]:
    """Return what is known against ``version`` of ``package``, the worst first, then by id.

    Any version may be asked, also one the catalogue does not know; ValueError when it is none by PEP 440.
    """
    try:
        wanted = Version(version)
    except InvalidVersion:
        raise ValueError(f"{version!r} is no version: expected one such as 0.32.0") from None
    found = [entry for entry in all_advisories() if entry.package == package and entry.affects(wanted)]
    words = [word for _place, word in _WORDS]
    order = {word: place for place, word in enumerate(words)} | {"unknown": len(words)}
    return tuple(sorted(found, key=lambda entry: (order[entry.severity], -(entry.score or 0.0), entry.id)))


@functools.cache
def first_without(version: str, package: str = "vllm") -> str | None:
    """Return the oldest fix that leaves nothing known open in ``version``; None when there is none or nothing is open.

    Advisories without a fix do not count: no upgrade ends them.
    """
    fixes = [Version(entry.fixed) for entry in advisories(version, package) if entry.fixed is not None]
    return str(max(fixes)) if fixes else None
