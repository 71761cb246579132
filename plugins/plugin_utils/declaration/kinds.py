# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kinds of values a declaration is made of: each normalises one value or says what is wrong with it."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..problems import Problem, did_you_mean, shown, type_name

Report = Callable[[Problem], None]


class Kind(Protocol):
    """A kind of value. ``read`` returns the normalised value and reports every problem below ``path``."""

    @property
    def expects(self) -> str:
        """What the kind expects, as a noun phrase for messages and documentation."""

    @property
    def secret(self) -> bool:
        """Whether a value may hold a secret, so that no message shows what stands in its place."""

    def read(self, value: Any, path: str, report: Report) -> Any:
        """Return ``value`` normalised; what cannot be used is reported and comes back as None."""


def _wrong_type(path: str, value: Any, expects: str, secret: bool = False) -> Problem:
    found = f"a {type_name(value)}" if secret else f"{shown(value)} ({type_name(value)})"
    return Problem(path, "wrong-type", found, expects, f"Give {path} {expects}.")


@dataclass(frozen=True)
class Text:
    """A string; ``pattern`` must match the whole of it, ``says`` describes the pattern."""

    says: str = "a non-empty string"
    pattern: str = r"[^\x00-\x1f\x7f]+"
    secret: bool = False

    @property
    def expects(self) -> str:
        return self.says

    def read(self, value: Any, path: str, report: Report) -> str | None:
        if not isinstance(value, str):
            report(_wrong_type(path, value, self.says, self.secret))
            return None
        text = str(value)
        if re.fullmatch(self.pattern, text) is None:
            found = f"{len(text)} characters (not shown)" if self.secret else shown(text)
            report(Problem(path, "bad-value", found, self.says, f"Change {path}."))
            return None
        return text


@dataclass(frozen=True)
class Day(Text):
    """A date as text, which YAML makes a date of where nobody quoted it."""

    def read(self, value: Any, path: str, report: Report) -> str | None:
        plain = isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)
        return super().read(value.isoformat() if plain else value, path, report)


@dataclass(frozen=True)
class Integer:
    """A whole number between ``low`` and ``high``, both included."""

    low: int
    high: int
    secret: bool = False

    @property
    def expects(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def read(self, value: Any, path: str, report: Report) -> int | None:
        if isinstance(value, bool) or not isinstance(value, int):
            report(_wrong_type(path, value, self.expects))
            return None
        if not self.low <= value <= self.high:
            report(Problem(path, "out-of-range", shown(value), self.expects, f"Change {path}."))
            return None
        return int(value)


@dataclass(frozen=True)
class Boolean:
    """true or false, and no word that looks like one."""

    expects: str = "true or false"
    secret: bool = False

    def read(self, value: Any, path: str, report: Report) -> bool | None:
        if not isinstance(value, bool):
            report(_wrong_type(path, value, self.expects))
            return None
        return bool(value)


@dataclass(frozen=True)
class Choice:
    """One word of a closed list."""

    words: tuple[str, ...]
    secret: bool = False

    @property
    def expects(self) -> str:
        return f"one of {', '.join(self.words)}"

    def read(self, value: Any, path: str, report: Report) -> str | None:
        if not isinstance(value, str):
            report(_wrong_type(path, value, self.expects))
            return None
        if value not in self.words:
            report(Problem(path, "bad-value", shown(value), self.expects, did_you_mean(value, self.words)))
            return None
        return str(value)


@dataclass(frozen=True)
class ListOf:
    """A list of one kind; ``least`` is the smallest length that makes sense."""

    kind: Kind
    least: int = 0

    @property
    def expects(self) -> str:
        size = f" with at least {self.least} item(s)" if self.least else ""
        return f"a list{size} of {self.kind.expects}"

    @property
    def secret(self) -> bool:
        return self.kind.secret

    def read(self, value: Any, path: str, report: Report) -> list[Any] | None:
        if not isinstance(value, list):
            report(_wrong_type(path, value, self.expects, self.secret))
            return None
        if len(value) < self.least:
            report(Problem(path, "too-few", f"{len(value)} item(s)", self.expects, f"Add to {path}."))
        items = [self.kind.read(item, f"{path}[{index}]", report) for index, item in enumerate(value)]
        return [item for item in items if item is not None]


@dataclass(frozen=True)
class Scalar:
    """A string, number or boolean, or a flat list of them, passed through to the product as it is."""

    expects: str = "a string, a number, true, false or a list of them"
    secret: bool = True

    def read(self, value: Any, path: str, report: Report) -> Any:
        items = value if isinstance(value, list) else [value]
        if any(not isinstance(item, (str, int, float, bool)) for item in items):
            report(_wrong_type(path, value, self.expects, self.secret))
            return None
        if any(isinstance(item, str) and re.search(r"[\x00-\x08\x0a-\x1f\x7f]", item) for item in items):
            found = "control characters (not shown)"
            report(Problem(path, "bad-value", found, "text without control characters", f"Change {path}."))
            return None
        return value


@dataclass(frozen=True)
class MapOf:
    """A mapping with free keys that match ``key`` and values of one kind."""

    key: Text
    value: Kind

    @property
    def expects(self) -> str:
        return f"a mapping from {self.key.says} to {self.value.expects}"

    @property
    def secret(self) -> bool:
        return self.value.secret

    def read(self, value: Any, path: str, report: Report) -> dict[str, Any] | None:
        if not isinstance(value, Mapping):
            report(_wrong_type(path, value, self.expects, self.secret))
            return None
        result: dict[str, Any] = {}
        for name, item in value.items():
            key = self.key.read(name, f"{path}.{name}", report)
            read = self.value.read(item, f"{path}.{name}", report)
            if key is not None and read is not None:
                result[key] = read
        return result


@dataclass(frozen=True)
class Field:
    """One key of a record: its kind, what it means, and its default when it may be left out."""

    kind: Kind
    doc: str
    default: Any = None
    required: bool = False


@dataclass(frozen=True)
class Record:
    """A mapping with a closed set of keys. Left-out keys get their defaults, unknown keys are refused."""

    name: str
    fields: Mapping[str, Field] = field(default_factory=dict)

    @property
    def expects(self) -> str:
        return f"a mapping with the keys of {self.name}"

    @property
    def secret(self) -> bool:
        return any(spec.kind.secret for spec in self.fields.values())

    def read(self, value: Any, path: str, report: Report) -> dict[str, Any] | None:
        if not isinstance(value, Mapping):
            report(_wrong_type(path, value, self.expects, self.secret))
            return None
        for key in value:
            if key not in self.fields:
                hint = did_you_mean(str(key), self.fields)
                report(Problem(f"{path}.{key}", "unknown-key", f"the key {shown(key)}", f"a key of {self.name}", hint))
        return {key: self._read_field(key, spec, value, path, report) for key, spec in self.fields.items()}

    def _read_field(self, key: str, spec: Field, value: Mapping[str, Any], path: str, report: Report) -> Any:
        here = f"{path}.{key}"
        if key in value and (value[key] is not None or spec.required):
            return spec.kind.read(value[key], here, report)
        if spec.required:
            report(Problem(here, "missing-key", "nothing", spec.kind.expects, f"Set {here}: {spec.doc}"))
            return None
        if isinstance(spec.kind, Record) and spec.default is None:
            return None
        if isinstance(spec.kind, Record):
            return spec.kind.read(spec.default, here, report)
        return spec.default
