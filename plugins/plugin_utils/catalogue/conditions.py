# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a route exists: conditions such as ``generate and not --tokens-only or VLLM_SERVER_DEV_MODE``.

Their terms are options, variables, tasks of the model and ``cohere-sdk`` (the package cohere is installed).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence

POOLING = frozenset({"classify", "embed", "scoring", "token_embed", "token_classify"})
SCORING = frozenset({"embed", "token_embed", "score"})
_OFF = frozenset({"", "0", "false"})


@functools.cache
def _terms(condition: str) -> tuple[tuple[tuple[str, bool], ...], ...]:
    return tuple(
        tuple((name.removeprefix("not "), not name.startswith("not ")) for name in term.split(" and "))
        for term in condition.split(" or ")
    )


def holds(condition: str, true: frozenset[str]) -> bool:
    """Tell whether ``condition`` holds when exactly the terms ``true`` do."""
    if condition in ("always", "never"):
        return condition == "always"
    return any(all((name in true) == positive for name, positive in term) for term in _terms(condition))


def terms_of(
    options: Mapping[str, Sequence[str]],
    environment: Mapping[str, str],
    tasks: Iterable[str],
    installed: Iterable[str] = (),
) -> frozenset[str]:
    """Return the terms that hold for a process.

    ``options`` maps names without dashes to values and holds no negated switch, ``tasks`` are those the server logs as
    supported (a classifier with one label also scores: name ``scoring``), ``installed`` are Python packages.
    """
    found = {f"--{name}" for name in options}
    found |= {name for name, value in environment.items() if value.strip().lower() not in _OFF}
    supported = set(tasks)
    found |= supported
    if supported & SCORING:
        found.add("scoring")
    if supported & (POOLING | SCORING):
        found.add("pooling")
    if "cohere" in installed:
        found.add("cohere-sdk")
    return frozenset(found)
