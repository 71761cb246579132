# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values of Kubernetes objects that refer to others, or are kept encoded."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

from ..texts import Text, put_in

_REFERENCE = re.compile(r"\$\$\(|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
# Kubernetes has no such variables: something else (envsubst) puts them in before.
_PUT_IN_BEFORE = re.compile(r"\$(\{[A-Za-z_][A-Za-z0-9_]*\}|[A-Za-z_][A-Za-z0-9_]*)")


def held(value: Text, kind: str) -> Text:
    """Return ``value`` as a ConfigMap or a Secret gives it."""
    # A Secret is where secrets belong, so its values are no literals of a manifest.
    return value.become(value, literal=kind != "Secret")


def decoded(value: Text) -> Text:
    """Return what the base64 in ``value`` stands for; unknown when it is none."""
    try:
        text = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        return value.become("", known=False, literal=False)
    return value.become(text, literal=False)


def put(value: Text, environment: Mapping[str, Text]) -> Text:
    """Return ``value`` with ``$(NAME)`` replaced by variables of the container, as Kubernetes does."""
    if _PUT_IN_BEFORE.fullmatch(value):
        return value.become(value, known=False, literal=False)
    if "$(" not in value:
        return value
    known, literal = value.known, value.literal

    def replaced(match: re.Match[str]) -> str:
        nonlocal known, literal
        known_as = environment.get(match[1]) if match[1] else None
        if known_as is None:
            return match[0].removeprefix("$") if match[1] is None else match[0]
        known, literal = known and known_as.known, False
        return str(known_as) if known_as.known else match[0]

    text = put_in(_REFERENCE, replaced, value)
    return value.become(value, known=False) if text is None else value.become(text, known=known, literal=literal)
