# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The result of an audit in the forms people and programs read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from . import html, json, junit, sarif, text

# Each takes a result (docs/audit.schema.json) and returns the whole report.
FORMATS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "html": html.render,
    "json": json.render,
    "sarif": sarif.render,
    "junit": junit.render,
    "text": text.render,
}


def digests(files: Mapping[str, str]) -> str:
    """Return the list ``sha256sum --check`` reads, for texts by their file's name."""
    lines = (
        f"{hashlib.sha256(content.encode('utf-8')).hexdigest()}  {name}" for name, content in sorted(files.items())
    )
    return "".join(f"{line}\n" for line in lines)
