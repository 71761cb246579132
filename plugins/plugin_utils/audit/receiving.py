# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is let in of a module's result: the evidence and how it ended, nothing that acts on the controller.

A host that is audited may be somebody else's by now. What its module returns could otherwise set variables of the play
(``ansible_facts``: where reports are written, which file is read, which threshold holds), write to the operator's terminal
(``warnings``, ``deprecations``, ``msg``) or fill the controller's disk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MOST_BYTES = 32 << 20
MOST_CHARACTERS = 500
_MARKS = ("failed", "skipped", "unreachable", "timedout")


def received(result: Mapping[str, Any], most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """Return what of ``result`` is kept: ``evidence``, marks of how it ended, and ``msg`` as one printable line."""
    kept: dict[str, Any] = {"changed": False}
    kept |= {name: True for name in _MARKS if result.get(name)}
    if "msg" in result or not {"evidence", "skipped"} & result.keys():
        kept["msg"] = printable(str(result.get("msg", "the host returned no evidence")))
    if "evidence" in result:
        bytes_ = _bytes(result["evidence"])
        if bytes_ is None or bytes_ > most_bytes:
            what = "is no JSON" if bytes_ is None else f"has {bytes_} bytes; expected {most_bytes} at most"
            return {**kept, "failed": True, "msg": f"the evidence {what}"}
        kept["evidence"] = result["evidence"]
    return kept


def printable(text: str) -> str:
    """Return ``text`` as one line on which no terminal acts, cut where it is long."""
    line = " ".join(text[: 4 * MOST_CHARACTERS].split())
    shown = "".join(character if character.isprintable() else "?" for character in line)
    return shown if len(shown) <= MOST_CHARACTERS else f"{shown[:MOST_CHARACTERS]}..."


def _bytes(value: Any) -> int | None:
    try:
        return len(json.dumps(value))
    except (RecursionError, TypeError, ValueError):
        return None
