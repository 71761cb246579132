# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The questions Ansible puts to the audit: what came in is checked here, and refused in words."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from ..problems import did_you_mean, shown
from ..report.audit.formats import FORMATS, digests
from .evidence import Evidence
from .judge import FORMAT, UnreadableEvidenceError, judge
from .waivers import InvalidWaiverError, read

_PARTS = {"hosts": Mapping, "reach": Sequence, "routes": Sequence, "missing": Sequence}
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


class InvalidQuestionError(ValueError):
    """A question the audit cannot answer; the message says what was found and what was expected."""


def judged(
    evidence: Mapping[str, Any],
    plans: Mapping[str, Any],
    waivers: Sequence[Any],
    secrets: Mapping[str, Any],
    today: datetime.date,
    previous: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the result of an audit; ``secrets`` maps names to digests. Raises InvalidQuestionError."""
    for name, kind in _PARTS.items():
        if not isinstance(evidence.get(name), kind) or isinstance(evidence.get(name), str):
            expected = "mapping" if kind is Mapping else "list"
            raise InvalidQuestionError(f"the evidence needs {name}, a {expected}; found {shown(evidence.get(name))}")
    for name, plan in plans.items():
        if not isinstance(plan, Mapping) or not isinstance(plan.get("hosts"), Mapping):
            raise InvalidQuestionError(f"plans[{name}] is no plan: expected what hardened.vllm.plan returns")
    known: dict[str, str] = {}
    for name, digest in secrets.items():
        found = _DIGEST.fullmatch(str(digest))
        if found is None:
            raise InvalidQuestionError(f"digests[{name}] must be 64 hexadecimal digits, the SHA-256 of a secret")
        known[found[1]] = str(name)
    try:
        return judge(cast(Evidence, evidence), plans, read(waivers), known, today, previous)
    except (UnreadableEvidenceError, InvalidWaiverError) as error:
        raise InvalidQuestionError(str(error)) from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InvalidQuestionError(
            f"the evidence is not as the modules of this release collect it: {error!r}"
        ) from error


def reported(given: Mapping[str, Any], name: str) -> str:
    """Return a result in the form ``name``, or the digests of texts by file name. Raises InvalidQuestionError."""
    if name == "digests":
        for file, text in given.items():
            if not isinstance(text, str) or "\n" in str(file):
                raise InvalidQuestionError(
                    f"digests need texts by file name; found {type(text).__name__} for {shown(file)}"
                )
        return digests(given)
    if name not in FORMATS:
        raise InvalidQuestionError(f"unknown format {shown(name)}. {did_you_mean(str(name), (*FORMATS, 'digests'))}")
    if given.get("format") != FORMAT:
        raise InvalidQuestionError(f"a result of format {shown(given.get('format'))}; expected {FORMAT}")
    try:
        return FORMATS[name](given)
    except (KeyError, TypeError) as error:
        raise InvalidQuestionError(f"the result is not as hardened.vllm.audit_judge returns it: {error!r}") from error
