# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The result as it is, for programs and for the next audit to compare with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def render(result: Mapping[str, Any]) -> str:
    """Return the result as JSON."""
    return json.dumps(result, indent=2, sort_keys=True) + "\n"
