# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the arguments and the environment of a process take an advisory its ground, where they can tell."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..problems import whole_number
from . import newest, options
from .advisories import Advisory

_OFF = frozenset({"", "0", "false", "no", "off"})
_MANY_NODES = ("headless", "data-parallel-address", "data-parallel-start-rank")


class Verdict(enum.Enum):
    """What the arguments and the environment say about an advisory."""

    MITIGATED = "mitigated"
    EXPOSED = "exposed"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Running:
    """A process: options by name without dashes (the last of each, a switch has no values), variables, known release.

    ``negated`` are switches given as ``--no-x``; ``model`` the model as it was named, None when that is not known.
    """

    options: Mapping[str, Sequence[str]]
    environment: Mapping[str, str]
    negated: frozenset[str] = frozenset()
    model: str | None = None
    release: str | None = None

    def values(self, name: str) -> Sequence[str]:
        """Return the values of option ``name``, or its default where it is not given and the default is plain."""
        if name in self.options:
            return self.options[name]
        known = options(self.release or newest()).get(name)
        if known is None or known.default_code is not None or known.default is None:
            return ()
        return [str(item) for item in (known.default if isinstance(known.default, list) else [known.default])]

    def is_on(self, name: str) -> bool:
        """Tell whether option ``name`` is given and not negated."""
        return name in self.options and name not in self.negated

    def variable(self, name: str) -> str:
        """Return the value of a variable, empty when it is not set."""
        return self.environment.get(name, "").strip()


def verdict(advisory: Advisory, running: Running) -> Verdict:
    """Return whether ``running`` is mitigated; UNDECIDED where only something outside of it could tell."""
    for alternative in advisory.mitigated_by:
        if all(_CHECKS[name](running, wanted) for name, wanted in alternative.items()):
            return Verdict.MITIGATED
    if advisory.outside or not advisory.mitigated_by:
        return Verdict.UNDECIDED
    return Verdict.EXPOSED


def _option_is(running: Running, wanted: Mapping[str, Sequence[str]]) -> bool:
    return all(running.values(name) and set(running.values(name)) <= set(allowed) for name, allowed in wanted.items())


def _option_at_most(running: Running, wanted: Mapping[str, int]) -> bool:
    for name, limit in wanted.items():
        values = running.values(name)
        # A negative number lifts the limit.
        counts = [whole_number(value) for value in values]
        if not counts or any(count is None or count > limit for count in counts):
            return False
    return True


def _single_node(running: Running, _wanted: bool) -> bool:
    if any(running.is_on(name) for name in _MANY_NODES):
        return False
    nodes = running.options.get("nnodes", ("1",))
    return list(nodes) == ["1"] and list(running.options.get("distributed-executor-backend", ())) != ["ray"]


def _connector_not(running: Running, wanted: Sequence[str]) -> bool:
    given = [
        value
        for name, values in running.options.items()
        if name.split(".")[0] in ("kv-transfer-config", "ec-transfer-config")
        for value in values
    ]
    return not any(name in value for name in wanted for value in given)


def _options_without(running: Running, wanted: Mapping[str, Sequence[str]]) -> bool:
    given = [
        value for name, values in running.options.items() if name.split(".")[0] in wanted["options"] for value in values
    ]
    return not any(word in value for word in wanted["words"] for value in given)


def _limits(running: Running) -> dict[str, int]:
    """Return the limits of media per request that are given; what cannot be read limits nothing."""
    found: dict[str, int] = {}
    for name, values in running.options.items():
        option, _dot, modality = name.partition(".")
        if option != "limit-mm-per-prompt" or not values:
            continue
        if modality:
            count = whole_number(values[-1])
            found |= {} if count is None else {modality: count}
            continue
        try:
            read = json.loads(values[-1])
        except (ValueError, RecursionError):
            continue
        if isinstance(read, dict):
            for key, value in read.items():
                count = value.get("count") if isinstance(value, dict) else value
                if isinstance(count, int) and not isinstance(count, bool):
                    found[str(key)] = count
    return found


def _modality_at_most(running: Running, wanted: Mapping[str, int]) -> bool:
    if running.is_on("language-model-only"):
        return True
    limits = _limits(running)
    return all(0 <= limits.get(name, 999) <= limit for name, limit in wanted.items())


def _local_model(running: Running, _wanted: bool) -> bool:
    local = running.model is not None and running.model.startswith("/")
    return local and running.variable("HF_HUB_OFFLINE").lower() not in _OFF


_CHECKS: dict[str, Callable[[Running, Any], bool]] = {
    "option_off": lambda running, names: not any(running.is_on(name) for name in names),
    "option_negated": lambda running, names: all(name in running.negated for name in names),
    "option_given": lambda running, names: all(any(v.strip() for v in running.options.get(name, ())) for name in names),
    "option_is": _option_is,
    "option_is_not": lambda running, wanted: all(
        not set(running.values(name)) & set(values) for name, values in wanted.items()
    ),
    "option_at_most": _option_at_most,
    "options_without": _options_without,
    "connector_not": _connector_not,
    "modality_off": lambda running, names: _modality_at_most(running, dict.fromkeys(names, 0)),
    "modality_at_most": _modality_at_most,
    "single_node": _single_node,
    "local_model": _local_model,
    "variable_off": lambda running, names: all(running.variable(name).lower() in _OFF for name in names),
    "variable_is": lambda running, wanted: all(running.variable(name) in values for name, values in wanted.items()),
}
CHECKS = frozenset(_CHECKS)
