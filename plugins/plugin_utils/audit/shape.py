# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether JSON has the shape a TypedDict describes, so that who reads it afterwards needs no net for what is missing."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from ..problems import shown

_WORDS = {
    dict: "a mapping",
    list: "a list",
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


class InvalidQuestionError(ValueError):
    """A question the audit cannot answer; the message says what was found and what was expected."""


@dataclass(frozen=True)
class Form:
    """What a value has to look like beside its type: ``Annotated[str, Form("a date", is_date)]``.

    ``fits`` returns false, or raises ValueError, when it does not.
    """

    words: str
    fits: Callable[[Any], bool]


def one_of(*words: str) -> Form:
    """Return the form of a text that is one of ``words``."""
    return Form(" or ".join(repr(word) for word in words), lambda text: text in words)


def first_fault(value: Any, kind: Any, path: str) -> str | None:
    """Return where ``value`` is not of ``kind``, what was found there and what was expected; None when it is."""
    return next(_faults(value, kind, path), None)


def _faults(value: Any, kind: Any, path: str) -> Iterator[str]:
    origin = typing.get_origin(kind)
    if kind is Any:
        return
    if typing.is_typeddict(kind):
        yield from _record(value, kind, path)
    elif origin is Annotated:
        yield from _form(value, kind, path)
    elif origin in (types.UnionType, typing.Union):
        for one in typing.get_args(kind) if value is not None else ():
            if one is not types.NoneType:
                yield from _faults(value, one, path)
    elif not _is(value, origin or kind):
        yield _fault(path, value, _WORDS[origin or kind])
    elif origin is list:
        for number, inner in enumerate(value):
            yield from _faults(inner, typing.get_args(kind)[0], f"{path}[{number}]")
    elif origin is dict:
        for key, inner in value.items():
            yield from _faults(key, typing.get_args(kind)[0], f"{path}, a key")
            yield from _faults(inner, typing.get_args(kind)[1], f"{path}[{shown(key)}]")


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    # Ansible hands over mappings and lists of its own.
    return isinstance(value, Mapping if kind is dict else kind)


def _record(value: Any, kind: Any, path: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield _fault(path, value, "a mapping")
        return
    for key, inner in _fields(kind).items():
        optional = typing.get_origin(inner) is typing.NotRequired
        if key in value:
            yield from _faults(value[key], typing.get_args(inner)[0] if optional else inner, f"{path}.{key}")
        elif not optional:
            yield f"{path}.{key} is missing"


_known: dict[Any, dict[str, Any]] = {}


def _fields(kind: Any) -> dict[str, Any]:
    if kind not in _known:
        _known[kind] = typing.get_type_hints(kind, include_extras=True)
    return _known[kind]


def _form(value: Any, kind: Any, path: str) -> Iterator[str]:
    base, form = typing.get_args(kind)
    wrong = next(_faults(value, base, path), None)
    if wrong is not None:
        yield wrong
        return
    try:
        fits = form.fits(value)
    except ValueError:
        fits = False
    if not fits:
        yield _fault(path, value, form.words)


def _fault(path: str, value: Any, expected: str) -> str:
    return f"{path} is {shown(value)}; expected {expected}"
