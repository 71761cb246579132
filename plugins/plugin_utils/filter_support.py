# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the filters share: the input's type is checked first, errors are translated once."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ansible.errors import AnsibleFilterError

from .audit.shape import InvalidQuestionError
from .core import InvalidDeclarationError
from .problems import type_name

Result = TypeVar("Result")


def need_mapping(value: Any, what: str, filter_name: str) -> Mapping[str, Any]:
    """Return ``value`` when it is a mapping; raise AnsibleFilterError naming ``what`` otherwise."""
    if not isinstance(value, Mapping):
        raise AnsibleFilterError(f"hardened.vllm.{filter_name}: {what} must be a mapping, found a {type_name(value)}")
    return value


def day(value: str | None, filter_name: str) -> datetime.date:
    """Return the day waivers are judged on: ``value`` in ISO form, else today (UTC)."""
    if value is None:
        return datetime.datetime.now(datetime.UTC).date()
    try:
        return datetime.date.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise AnsibleFilterError(
            f"hardened.vllm.{filter_name}: today must be a date such as 2027-01-31: {error}"
        ) from error


def answered(filter_name: str, function: Callable[..., Result], *arguments: Any) -> Result:
    """Call ``function``; turn what it says about a question to the audit into AnsibleFilterError."""
    try:
        return function(*arguments)
    except InvalidQuestionError as error:
        raise AnsibleFilterError(f"hardened.vllm.{filter_name}: {error}") from error


def translated(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call ``function``; turn what it says about a declaration into AnsibleFilterError."""
    try:
        return function(*arguments)
    except InvalidDeclarationError as error:
        raise AnsibleFilterError(f"{len(error.problems)} problem(s) in the declaration:\n{error}") from error
