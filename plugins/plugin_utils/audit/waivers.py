# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waivers: what is accepted for a while, where, why, and until when."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..declaration.kinds import Record
from ..declaration.schema import WAIVER
from ..problems import Problem
from .view import Finding


class InvalidWaiverError(ValueError):
    """Waivers that cannot be read; ``problems`` says all of why."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("\n".join(problem.sentence() for problem in self.problems))


@dataclass(frozen=True)
class Waiver:
    """One waiver. ``rule`` is a control or a rule of the linter, ``hosts`` is empty when it holds for the whole cluster.

    ``owner`` is the role of who answers for it; it holds up to and with the day ``expires``.
    """

    rule: str
    reason: str
    owner: str
    expires: datetime.date
    hosts: tuple[str, ...] = ()

    def expired(self, today: datetime.date) -> bool:
        """Tell whether its last day is over."""
        return self.expires < today

    def covers(self, finding: Finding, today: datetime.date) -> bool:
        """Tell whether ``finding`` is accepted by it today."""
        if self.expired(today) or (self.hosts and finding.host not in self.hosts):
            return False
        return self.rule in (finding.control, finding.rule)


def read(values: Iterable[Any], record: Record = WAIVER) -> list[Waiver]:
    """Return the waivers in ``values``, in the form of ``vllm_cluster.waivers``; raise InvalidWaiverError for all that are none."""
    problems: list[Problem] = []
    found: list[Waiver] = []
    for number, value in enumerate(values):
        entry: Mapping[str, Any] | None = record.read(value, f"waivers[{number}]", problems.append)
        if entry is None or any(entry.get(key) is None for key in ("rule", "reason", "owner", "expires")):
            continue
        try:
            last = datetime.date.fromisoformat(entry["expires"])
        except ValueError:
            path = f"waivers[{number}].expires"
            problems.append(Problem(path, "bad-value", repr(entry["expires"]), "a date that exists", "Mend the date."))
            continue
        hosts = tuple(entry["hosts"] or ())
        found.append(Waiver(entry["rule"], entry["reason"], entry["owner"], last, hosts))
    if problems:
        raise InvalidWaiverError(problems)
    return found
