# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last thing done to every text of a result: what looks like a secret, or is one of the cluster's, becomes a digest."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

# Forms of keys that are known, an authorization header, the password of an address, what follows a telling name.
_SHAPES = (
    re.compile(r"\b(?:sk|hf|ghp|gho|xox[abp]|AKIA|glpat)[-_][A-Za-z0-9_-]{8,}"),
    re.compile(r"(?<=[Bb]earer )[A-Za-z0-9._~+/=-]{6,}"),
    re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"),
    re.compile(
        r"(?i)(?<![A-Za-z0-9_-])(?:[a-z0-9_-]*(?:password|passwd|secret|api[-_]?key|token)[=: ]+[\"']?)(?!sha256:)([^\s\"',;]{8,})"
    ),
)
# Texts of a result are sentences, and may hold what a host likes.
MOST_CHARACTERS = 4000
_WORD = re.compile(r"[A-Za-z0-9._~+/=-]{8,}")
_DIGEST = re.compile(r"sha256:([0-9a-f]{12})[0-9a-f]{52}")


def digest(value: str) -> str:
    """Return what stands for a secret in a report: the first 12 digits of its SHA-256."""
    return f"sha256:{hashlib.sha256(value.encode('utf-8', 'replace')).hexdigest()[:12]}"


def reduced(value: str, secrets: Mapping[str, str]) -> str:
    """Return ``value`` without secrets, cut where it is long; ``secrets`` maps digests (64 digits) to the names of those that are known."""
    if len(value) > MOST_CHARACTERS:
        # Not within a word: half a secret has another digest.
        value = f"{re.sub(r'[^ ]*$', '', value[:MOST_CHARACTERS])}... ({len(value)} characters)"
    for shape in _SHAPES:
        value = shape.sub(lambda found: found[0].replace(found[found.re.groups], digest(found[found.re.groups])), value)
    if secrets:
        value = _WORD.sub(lambda found: _known(found[0], secrets), value)
    return _DIGEST.sub(r"sha256:\1", value)


def _known(word: str, secrets: Mapping[str, str]) -> str:
    found = hashlib.sha256(word.encode()).hexdigest()
    return f"sha256:{found[:12]}" if found in secrets else word


def reduced_all(value: Any, secrets: Mapping[str, str]) -> Any:
    """Return ``value``, JSON types, with every text in it reduced."""
    if isinstance(value, str):
        return reduced(value, secrets)
    if isinstance(value, Mapping):
        return {key: reduced_all(inner, secrets) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [reduced_all(inner, secrets) for inner in value]
    return value
