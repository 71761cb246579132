# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings of the linter in the forms people and programs read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..linting.finding import Finding
from . import github, json, junit, sarif, text

# Each takes the findings and the paths of the files that were read, and returns the whole report.
FORMATS: dict[str, Callable[[Sequence[Finding], Sequence[str]], str]] = {
    "text": text.render,
    "json": json.render,
    "sarif": sarif.render,
    "junit": junit.render,
    "github": github.render,
}
