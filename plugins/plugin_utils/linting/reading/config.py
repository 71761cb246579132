# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file ``vllm serve --config`` reads, taken as vLLM takes it."""

from __future__ import annotations

import json
from typing import Any

from ... import catalogue
from ..texts import Process, Reading, Text, UnreadableError, text
from .yaml_reading import List, Map, documents, plain


def words_of(content: str, path: str) -> list[Text]:
    """Return the words vLLM makes of the file; raise UnreadableError when vLLM would refuse it.

    A true value becomes a switch, a false one its ``--no-`` form, a list words (an empty one nothing at all), a mapping
    JSON, null the word ``None``.
    """
    found = documents(content, path)
    if not found:
        return []
    if len(found) > 1 or not isinstance(found[0], Map):
        raise UnreadableError("no mapping of options to values", "Write one document of option: value.", 1)
    return words(found[0])


def words(given: Map) -> list[Text]:
    """Return the words vLLM makes of options in a mapping."""
    found: list[Text] = []
    for key, value in given.items():
        found += _words(text(key).become(f"--{key}", tag="config"), value)
    return found


def _words(name: Text, value: Any) -> list[Text]:
    if isinstance(value, List):
        return [name, *(_word(name, item) for item in value)] if value else []
    if isinstance(value, Map):
        return [name, name.become(json.dumps(plain(value), default=str))]
    if value.tag == "bool":
        if plain(value):
            return [name]
        option = catalogue.options().get(name[2:])
        return [name.become(f"--no-{name[2:]}")] if option is not None and option.switch else []
    return [name, _word(name, value)]


def _word(name: Text, item: Any) -> Text:
    if isinstance(item, Text):
        return item.become(str(plain(item)), tag="config")
    return name.become(str(plain(item)))


def read(content: str, path: str) -> Reading:
    """Return the file as the server it configures; the environment is not known."""
    process = Process("", Text("", 1, path), argv=words_of(content, path), only_arguments=True, whole_environment=False)
    return Reading([process])
