# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of what things cost (docs/costs.md): a section for each benchmark, each written by that benchmark alone."""

from __future__ import annotations

import re
from pathlib import Path


def keep(page: Path, section: str) -> None:
    """Put ``section``, text that begins with its heading (``## NAME``), in the place of the one with that heading, else at the end.

    ``page`` is begun when it is not there.
    """
    section = section.strip() + "\n"
    heading = section.partition("\n")[0]
    if not heading.startswith("## "):
        raise ValueError(f"a section of {page} begins with a heading of the second level; found {heading!r}")
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    parts = [part for part in re.split(r"(?m)^(?=## )", text) if part]
    own = [part.partition("\n")[0] == heading for part in parts]
    place = own.index(True) if True in own else len(parts)
    parts = [part for part, mine in zip(parts, own, strict=True) if not mine]
    parts.insert(place, section)
    page.write_text("\n".join(part.rstrip("\n") + "\n" for part in parts), encoding="utf-8")
