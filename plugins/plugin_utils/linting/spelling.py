# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which option a spelling means: abbreviations, underscores, short forms, ``--no-x``."""

from __future__ import annotations

import functools

from .. import catalogue


@functools.lru_cache(maxsize=4096)
def resolve(written: str, release: str | None = None) -> tuple[str | None, bool]:
    """Return the option ``written`` means and whether it is negated; None when it is none or could be several."""
    # A dotted name sets one field of a JSON option: --kv-transfer-config.kv_role.
    bare = written.lstrip("-").split(".")[0].rstrip("+").replace("_", "-")
    known = catalogue.options(release)
    spelled = catalogue.aliases(release)
    for candidate, negated in ((bare, False), (bare[3:] if bare.startswith("no-") else "", True)):
        if candidate in known and written.startswith("--"):
            return candidate, negated
        if candidate in spelled and _is_long(candidate) == written.startswith("--"):
            return spelled[candidate], negated
    found = candidates(written, release)
    return found.pop() if len(found) == 1 else (None, False)


def candidates(written: str, release: str | None = None) -> set[tuple[str, bool]]:
    """Return the options ``written`` may abbreviate, each with whether it is the negated form."""
    bare = written.lstrip("-").split(".")[0].rstrip("+").replace("_", "-")
    if not bare:
        return set()
    known = catalogue.options(release)
    if not written.startswith("--"):
        short = {spelling: name for spelling, name in catalogue.aliases(release).items() if not _is_long(spelling)}
        return {(name, False) for spelling, name in short.items() if spelling.startswith(bare)}
    spelled = [(spelling, name) for spelling, name in catalogue.aliases(release).items() if _is_long(spelling)]
    found = {
        (name, False) for spelling, name in [*spelled, *zip(known, known, strict=True)] if spelling.startswith(bare)
    }
    if "no-".startswith(bare[:3]):
        found |= {(name, True) for name, option in known.items() if option.switch and f"no-{name}".startswith(bare)}
    return found


def _is_long(spelling: str) -> bool:
    # The short forms with one dash have at most three letters (-asc).
    return len(spelling) > 3
