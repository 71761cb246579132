# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Arguments of ``vllm serve`` read as its parser reads them.

The parser is argparse with four additions (``FlexibleArgumentParser``): underscores for dashes, dotted options that
are gathered into one JSON value, ``-O3``, and a configuration file whose words are put in after the model.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import catalogue
from .spelling import candidates, resolve
from .texts import Text, text

_NUMBER = re.compile(r"-\d+|-\d*\.\d+")
_DOTTED = "dotted"
# Options whose value every known release reads as JSON and nothing else.
_JSON = frozenset({"allowed-origins", "ec-transfer-config", "kv-events-config", "kv-transfer-config"})
_SUFFIX = re.compile(r"(\d+(?:\.\d+)?)([kKmMgGtT])")


@dataclass
class Given:
    """One option as it was given: its name without dashes, its values, whether it was negated or written ``--x=y``.

    ``dotted`` is True when it was put together from options such as ``--x.field``; its only value is JSON then.
    """

    name: str
    values: list[Text] = field(default_factory=list)
    negated: bool = False
    equals: bool = False
    written: Text = field(default_factory=lambda: Text(""))
    dotted: bool = False

    @property
    def known(self) -> bool:
        """Tell whether every value could be resolved."""
        return all(value.known for value in self.values)


@dataclass(frozen=True)
class Command:
    """A command line: the options in order, the words no option took, and what the parser refuses.

    ``unknown`` are names it does not have, ``ambiguous`` abbreviations of several, ``refused`` pairs of a word and
    why the parser stops there.
    """

    options: tuple[Given, ...]
    positional: tuple[Text, ...]
    unknown: tuple[Text, ...]
    ambiguous: tuple[Text, ...] = ()
    refused: tuple[tuple[Text, str], ...] = ()
    config: Text | None = None

    def last(self) -> dict[str, Given]:
        """Return the options that count: of several with one name the last."""
        return {option.name: option for option in self.options}


def parse(
    words: Sequence[str],
    read_config: Callable[[Text], Sequence[Text] | None] | None = None,
    release: str | None = None,
) -> Command:
    """Read the words after ``vllm serve``: abbreviations, underscores, ``--x=y``, dotted JSON, ``--no-x``.

    ``read_config`` returns the words of the file ``--config`` names, None when they cannot be had; ``release`` is a
    known one, the newest when it is None.
    """
    given = [text(word) for word in words]
    refused: list[tuple[Text, str]] = []
    config, given = _with_config(given, read_config, refused)
    return _Parser(release, refused).parsed(_gather_dotted([_dashed(word) for word in given], refused), config)


def _with_config(
    words: list[Text],
    read_config: Callable[[Text], Sequence[Text] | None] | None,
    refused: list[tuple[Text, str]],
) -> tuple[Text | None, list[Text]]:
    places = [index for index, word in enumerate(words) if word == "--config"]
    if not places:
        return None, words
    if len(places) > 1:
        refused.append((words[places[1]], "only one --config is allowed"))
    index = places[0]
    if index + 1 == len(words):
        refused.append((words[index], "--config names no file"))
        return None, words
    name = words[index + 1]
    if name.known and name.rsplit(".", 1)[-1] not in ("yaml", "yml"):
        refused.append((name, "the file of --config must end in .yaml or .yml"))
    inner = read_config(name) if read_config is not None else None
    if inner is None:
        return name, words
    head = 1 if words and not words[0].startswith("-") else 0
    rest = words[head:index] + words[index + 2 :]
    return name, [*words[:head], *inner, *rest]


def _dashed(word: Text) -> Text:
    if not word.startswith("--"):
        return word
    key, equals, value = word.partition("=")
    name, dot, fields = key.partition(".")
    return word.become(f"{name.replace('_', '-')}{dot}{fields}{equals}{value}")


def _gather_dotted(words: list[Text], refused: list[tuple[Text, str]]) -> list[Text]:
    """Put ``--x.field value`` together as ``--x {"field": value}`` at the end, as vLLM does before it parses."""
    rest: list[Text] = []
    gathered: dict[str, dict[str, Any]] = {}
    first: dict[str, tuple[Text, bool]] = {}
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        key, equals, value = word.partition("=")
        if not (word.startswith("-") and "." in key) or _NUMBER.fullmatch(word):
            rest.append(word)
            continue
        held: Text = word.become(value)
        if not equals:
            if index == len(words):
                refused.append((word, "no value follows"))
                break
            held = words[index]
            index += 1
        several = key.endswith("+")
        name, *fields = key.rstrip("+").split(".")
        place, known = first.get(name, (word, True))
        first[name] = (place, known and held.known and word.known)
        _merge(gathered.setdefault(name, {}), _nested(fields, held.split(",") if several else _value(held)))
    for name, fields_held in gathered.items():
        place, known = first[name]
        rest += [place.become(name, tag=_DOTTED), place.become(json.dumps(fields_held), known=known)]
    return rest


def _value(written: str) -> Any:
    try:
        return json.loads(written)
    except (ValueError, RecursionError):
        match = _SUFFIX.fullmatch(written.strip())
        if match is None:
            return str(written)
        power = "kmgt".index(match[2].lower()) + 1
        size = float(match[1]) * (1000**power if match[2].islower() else 1024**power)
        return int(size) if math.isfinite(size) else str(written)


def _nested(fields: Sequence[str], value: Any) -> dict[str, Any]:
    for name in reversed(fields):
        value = {name: value}
    return dict(value)


def _merge(target: dict[str, Any], extra: dict[str, Any]) -> None:
    for name, value in extra.items():
        there = target.get(name)
        if isinstance(value, dict) and isinstance(there, dict):
            _merge(there, value)
        elif isinstance(value, list) and isinstance(there, list):
            there.extend(value)
        else:
            target[name] = value


class _Parser:
    def __init__(self, release: str | None, refused: list[tuple[Text, str]]) -> None:
        self.release = release
        self.known = catalogue.options(release)
        self.refused = refused
        self.unknown: list[Text] = []
        self.ambiguous: list[Text] = []

    def parsed(self, words: list[Text], config: Text | None) -> Command:
        options: list[Given] = []
        positional: list[Text] = []
        current: Given | None = None
        only_words = False
        for word in words:
            if only_words or not self._is_option(word):
                if current is not None and self._takes(current):
                    current.values.append(word)
                else:
                    current = None
                    positional.append(word)
            elif word == "--":
                only_words, current = True, None
            else:
                current = self._option(word)
                current.dotted = word.tag == _DOTTED
                options.append(current)
        for option in options:
            self._check(option)
        # The model is the one word the parser takes for itself.
        spare = [word for word in positional[1:] if word.known]
        self.refused += [(word, "the parser expects no further word here") for word in spare]
        return Command(
            tuple(options),
            tuple(positional),
            tuple(self.unknown),
            tuple(self.ambiguous),
            tuple(self.refused),
            config,
        )

    def _is_option(self, word: Text) -> bool:
        if len(word) < 2 or not word.startswith("-") or _NUMBER.fullmatch(word):
            return False
        # argparse takes a word with a space for a value unless it begins with the name of an option, or of several.
        name = word.partition("=")[0]
        return " " not in word or resolve(name, self.release)[0] is not None or bool(candidates(name, self.release))

    def _option(self, word: Text) -> Given:
        written, equals, value = word.partition("=")
        found, negated = resolve(written, self.release)
        if found is None and len(written) > 2 and written[1] != "-":
            # One-letter options may have their value attached: -n2.
            short = catalogue.aliases(self.release).get(written[1])
            if short is not None:
                return Given(short, [word.become(word[2:])], written=word.become(written[:2]), equals=True)
        if found is None:
            several = candidates(written, self.release)
            (self.ambiguous if len(several) > 1 else self.unknown).append(word.become(written))
            found = written.lstrip("-").replace("_", "-")
        return Given(found, [word.become(value)] if equals else [], negated, bool(equals), word.become(written))

    def _check(self, option: Given) -> None:
        known = self.known.get(option.name)
        if known is None:
            return
        if option.negated and not known.switch:
            self.refused.append((option.written, "only switches have a --no- form"))
        elif known.switch and option.values:
            self.refused.append((option.written, "a switch takes no value"))
        elif not known.switch and not option.values and option.name != "hf-token":
            self.refused.append((option.written, "a value must follow"))
        elif option.name in _JSON and option.known and not _is_json(option.values[-1]):
            self.refused.append((option.written, "its value must be JSON"))

    def _takes(self, option: Given) -> bool:
        if option.equals:
            return False
        known = self.known.get(option.name)
        if known is None:
            return not option.values
        return not known.switch and (known.several or not option.values)


def _is_json(value: str) -> bool:
    try:
        json.loads(value)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def json_of(option: Given | None) -> Any:
    """Return the JSON value of an option, None when it has none or cannot be resolved."""
    if option is None or not option.values or not option.known:
        return None
    try:
        return json.loads(option.values[-1])
    except (ValueError, RecursionError):
        return None
