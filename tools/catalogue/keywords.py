# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``get_kwargs`` of vLLM makes of a configuration class: argparse's keywords for each of its fields."""

from __future__ import annotations

from typing import Any

from .fields import Code, Field

SWITCH = "BooleanOptionalAction"
COLLECTIONS = ("tuple", "list", "set")


def keywords(field: Field, optional_values: bool) -> dict[str, Any]:
    """Return the keywords of one field that decide how its option is written: default, action, nargs, choices, json.

    ``optional_values``: whether the release gives a field of bool, str and None an optional value.
    """
    kinds = field.kinds
    result: dict[str, Any] = {"default": field.default}
    if "dataclass" in kinds.names:
        result["json"] = True
    elif kinds.names == {"bool", "str", "None"} and optional_values:
        result["nargs"] = "?"
    elif "bool" in kinds.names:
        result["action"] = SWITCH
    elif "Literal" in kinds.names:
        if "str" not in kinds.names:
            result["choices"] = _choices(kinds.choices)
    elif any(name in kinds.names for name in COLLECTIONS):
        result["nargs"] = kinds.length if kinds.length is not None and "tuple" in kinds.names else "+"
        if "Literal" in kinds.elements:
            result["choices"] = _choices(kinds.element_choices)
    elif not kinds.names & {"int", "float"} and "dict" in kinds.names:
        result["json"] = True
    return result


def _choices(found: tuple[Any, ...]) -> Any:
    unknown = [choice for choice in found if isinstance(choice, Code)]
    return unknown[0] if unknown else sorted(found, key=str)
