# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""YAML of unknown origin, read without constructing anything and with the line of every value.

The text is only composed into nodes; nothing it names is ever called. Depth, size and the expansion of anchors are
limited, because a few hundred bytes can stand for gigabytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from ..texts import Text, UnreadableError, UnrenderedError, text

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

DEPTH = 100
SAFE_DEPTH = 400
NODES = 200_000
_TEMPLATE = re.compile(r"\{\{|\{%")
_FOLDED_LINES = 200
_FOLDED_LENGTH = 20_000

_PREFIX = "tag:yaml.org,2002:"
_PLAIN = frozenset({"str", "int", "float", "bool", "null", "timestamp", "binary", "value"})
# Docker Compose and Ansible have their own tags; none of them is called, each only changes how a value is taken.
_NULL_TAGS = frozenset({"!reset"})
_SAME_TAGS = frozenset({"!override", "!unsafe"})
_SECRET_TAGS = frozenset({"!vault", "!vault-encrypted"})


class Map(dict[str, Any]):
    """A mapping and the line it starts on; its keys are texts and know theirs."""

    line: int = 0

    def key(self, name: str) -> Text:
        """Return the key ``name`` with its place; without one when it is not there."""
        return next((text(key) for key in self if key == name), Text(name, self.line))


class List(list[Any]):
    """A sequence and the line it starts on."""

    line: int = 0


def documents(content: str, path: str = "") -> list[Any]:
    """Return the documents of ``content`` as Map, List and Text; null is a Text with the tag ``null``.

    Raises UnreadableError when it is no YAML, nests or expands beyond reason, or has tags that run code.
    """
    try:
        _check_depth(content)
        lines = content.split("\n")
        return [_Maker(lines, path).make(node) for node in yaml.compose_all(content, _Loader) if node is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 0
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise _unreadable(content, UnreadableError(f"broken YAML: {what}", "Mend the YAML.", line)) from error
    except UnreadableError as error:
        raise _unreadable(content, error) from error


def _unreadable(content: str, error: UnreadableError) -> UnreadableError:
    if _TEMPLATE.search(content):
        remedy = "Render it first (helm template) and lint the result."
        return UnrenderedError(f"a template that was not rendered ({error.found})", remedy, error.line)
    return error


def _check_depth(content: str) -> None:
    # Block structure nests by columns, flow structure by brackets: an upper bound that costs one pass.
    columns = max((len(lead) for lead in re.findall(r"(?m)^[ \-?:\t]*", content)), default=0)
    if 2 * columns + content.count("[") + content.count("{") <= SAFE_DEPTH:
        return
    depth = 0
    for event in yaml.parse(content, _Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH:
                raise _too_deep(event.start_mark.line + 1 if event.start_mark else 0)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1 if node.start_mark is not None else 0


def _too_deep(line: int) -> UnreadableError:
    return UnreadableError(
        f"YAML nested more than {DEPTH} levels deep",
        "Nothing vLLM reads is nested like that; remove the file or flatten it.",
        line,
    )


class _Maker:
    def __init__(self, lines: list[str], path: str) -> None:
        self.path = path
        self.lines = lines
        self.made: dict[int, tuple[Any, int]] = {}
        self.open: set[int] = set()

    def make(self, node: yaml.Node) -> Any:
        return self._made(node)[0]

    def _made(self, node: yaml.Node) -> tuple[Any, int]:
        known = self.made.get(id(node))
        if known is not None:
            return known
        if id(node) in self.open:
            raise UnreadableError("an anchor that contains itself", "Remove the alias.", _line(node))
        self.open.add(id(node))
        if len(self.open) > DEPTH:
            raise _too_deep(_line(node))
        result = self._build(node)
        self.open.discard(id(node))
        if result[1] > NODES:
            raise UnreadableError(f"more than {NODES} values with anchors written out", "Split the file.", _line(node))
        self.made[id(node)] = result
        return result

    def _build(self, node: yaml.Node) -> tuple[Any, int]:
        tag = self._tag(node)
        line = _line(node)
        if tag == "null!":
            return Text("", line, self.path, tag="null"), 1
        if isinstance(node, yaml.ScalarNode):
            if tag == "null":
                return Text("", line, self.path, tag="null"), 1
            return self._scalar(node, tag, line), 1
        if isinstance(node, yaml.SequenceNode):
            items = List()
            items.line = line
            size = 1
            for child in node.value:
                value, weight = self._made(child)
                items.append(value)
                size += weight
            return items, size
        return self._mapping(node, line)

    def _scalar(self, node: yaml.ScalarNode, tag: str, line: int) -> Text:
        block = node.style == "|"
        secret = tag == "secret!"
        made = Text(node.value, line + block, self.path, tag="str" if secret else tag, block=block, literal=not secret)
        # What a template puts in when it is rendered is not known.
        made.known = "{{" not in node.value
        last = node.end_mark.line if node.end_mark is not None else 0
        # Commands are short; where lines begin in a longer text nobody asks.
        if not block and line <= last < line + _FOLDED_LINES and len(node.value) < _FOLDED_LENGTH:
            made.breaks = self._breaks(node.value, line - 1, last)
        return made

    def _breaks(self, value: str, first: int, last: int) -> tuple[tuple[int, int], ...]:
        """Return where in a folded ``value`` the lines ``first`` to ``last`` of the file begin."""
        found = []
        at = 0
        for number in range(first, min(last + 1, len(self.lines))):
            start = value.find(self.lines[number].strip(" \t\"'\\"), at) if self.lines[number].strip() else -1
            if start >= 0:
                found.append((start, number + 1))
                at = start + 1
        return tuple(found)

    def _mapping(self, node: yaml.Node, line: int) -> tuple[Map, int]:
        mapping = Map()
        mapping.line = line
        merged: list[Map] = []
        size = 1
        for key_node, value_node in node.value:
            value, weight = self._made(value_node)
            size += weight + 1
            if key_node.tag == f"{_PREFIX}merge":
                merged += [item for item in (value if isinstance(value, List) else [value]) if isinstance(item, Map)]
                continue
            key = self._made(key_node)[0]
            if not isinstance(key, Text):
                raise UnreadableError("a mapping with a key that is no word", "Mend the YAML.", line)
            mapping[key] = value
        for other in merged:
            for key, value in other.items():
                mapping.setdefault(key, value)
        return mapping, size

    def _tag(self, node: yaml.Node) -> str:
        tag = str(node.tag)
        if tag.startswith(_PREFIX):
            short = tag.removeprefix(_PREFIX)
            if short in _PLAIN or (short in ("map", "seq") and not isinstance(node, yaml.ScalarNode)):
                return short
        if tag in _NULL_TAGS:
            return "null!"
        if tag in _SAME_TAGS:
            return "str"
        if tag in _SECRET_TAGS:
            return "secret!"
        raise UnreadableError(
            f"the YAML tag {tag[:60]!r}",
            "Write the value without a tag.",
            _line(node),
            "plain YAML: vLLM and Kubernetes read no other tags",
        )


def plain(value: Any) -> Any:
    """Return ``value`` as YAML 1.1 means it: dict, list, str, int, float, bool and None."""
    if isinstance(value, Map):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, List):
        return [plain(item) for item in value]
    if value.tag in ("str", "value"):
        return str(value)
    if value.tag == "null":
        return None
    # A single scalar cannot expand, nest or name anything: the tag was checked above.
    try:
        return yaml.load(str(value), Loader=_Loader)  # noqa: S506 - a safe loader
    except ValueError as error:
        found = f"the {value.tag} {str(value)[:40]!r}, which is none"
        raise UnreadableError(found, "Write a value that exists, or quote it.", value.line) from error


def walk(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every Map in ``value`` with its dotted place."""
    if isinstance(value, Map):
        yield place, value
        for key, item in value.items():
            yield from walk(item, f"{place}.{key}" if place else str(key))
    elif isinstance(value, List):
        for index, item in enumerate(value):
            yield from walk(item, f"{place}[{index}]")


def mapping(value: Any) -> Map:
    """Return ``value`` when it is a mapping, else an empty one: wrong shapes hold nothing to judge."""
    return value if isinstance(value, Map) else Map()


def items(value: Any) -> list[Any]:
    """Return ``value`` when it is a list, an empty list for null and nothing, else a list of it alone."""
    if isinstance(value, List):
        return value
    return [] if value is None or (isinstance(value, Text) and value.tag == "null") else [value]


def scalar(value: Any) -> Text | None:
    """Return ``value`` when it is a word, None for anything else and for null."""
    return value if isinstance(value, Text) and value.tag != "null" else None
