# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shell scripts and command lines: which servers they start, with what."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from ..releases import of_pin
from ..texts import LONGEST, Note, Process, Reading, Text, put_in
from . import docker
from .containers import reading_of
from .environment import variables_of
from .launch import find_launch, inner_scripts, weight_cache_notes
from .library import Library
from .ray import ray_node, ray_notes
from .shell import Line, Part, Scanner, Word

_ASSIGNED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\+?)=(.*)", re.DOTALL)
_KEYWORDS = frozenset(
    {
        "!",
        "do",
        "done",
        "elif",
        "else",
        "esac",
        "fi",
        "function",
        "if",
        "in",
        "then",
        "time",
        "until",
        "while",
        "{",
        "}",
    }
)
# Files of tools and virtual environments: none of them sets what vLLM reads.
_TOOLS = re.compile(
    r"(.*/)?(activate|conda\.sh|setvars\.sh|set_env\.sh|nvm\.sh|\.?bashrc|\.?(bash_)?profile|os-release)"
)
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash", "ssh"})
_SERVER = re.compile(r"\bvllm +serve\b|vllm[/-]openai|api_server")
# What the shell changes in a here-document.
_PUT_IN = re.compile(r"\\([\\$`])|\$\{(\w+)\}|\$([A-Za-z_]\w*)")
_DEPTH = 5
# More words than any command here has; arrays that hold themselves double with every line.
WORDS = 10_000

Variables = dict[str, "Text | list[Text]"]


def expand(word: Word, variables: Variables, origin: Text) -> list[Text]:
    """Return the words ``word`` becomes; parts that need a running shell make a word unknown."""
    fields: list[str] = [""]
    known = [True]
    started = False
    for part in word.parts:
        values, sure = _values(part, variables, origin, word.line)
        started = started or part.quoted or bool(part.value and not part.variable) or not sure
        if part.quoted and not part.whole_array:
            pieces = [" ".join(values)]
        else:
            pieces = values if part.whole_array else [piece for value in values for piece in _split(value, part)]
        for number, piece in enumerate(pieces):
            started = True
            if number:
                fields.append("")
                known.append(True)
            fields[-1] += piece
        known[-1] &= sure
        if len(fields) > WORDS or sum(map(len, fields)) > LONGEST:
            return [Text(f"${part.value}", word.line, origin.path, known=False, block=origin.block)]
    if not started:
        return []
    return [
        Text(text, word.line, origin.path, known=sure, literal=origin.literal, block=origin.block)
        for text, sure in zip(fields, known, strict=True)
    ]


def _split(value: str, part: Part) -> list[str]:
    return value.split() if part.variable else [value]


def _values(part: Part, variables: Variables, origin: Text, word_line: int) -> tuple[list[str], bool]:
    if part.opaque:
        return [f"${{{part.value}}}" if part.value else "$(...)"], False
    if not part.variable:
        return [part.value], True
    value = variables.get(part.value)
    if value is None or (part.default is not None and value == ""):
        if part.default is None:
            return [f"${part.value}"], False
        lines = Scanner(Text(part.default, word_line)).commands()
        texts = [item for line in lines for inner in line.words for item in expand(inner, variables, origin)]
        return [" ".join(texts)], all(text.known for text in texts)
    if isinstance(value, list):
        return [str(item) for item in value], all(item.known for item in value)
    return [str(value)], value.known


def read(content: Text, base: Process, library: Library, depth: int = 0) -> Reading:
    """Return the servers the script ``content`` starts; ``base`` holds what they inherit."""
    pin = of_pin(content, content.path)
    if pin is not None and base.release is None:
        line = content.line + pin.line - 1 if content.block else content.line
        base = dataclasses.replace(base, release=Text(pin, line, content.path))
    return _Script(base, library, content, depth).run()


def started(words: Sequence[Text], base: Process, library: Library, depth: int = 0) -> Reading:
    """Return the server ``words``, one command without a shell around it, starts."""
    reading = Reading()
    launch = find_launch(words)
    if launch is not None:
        process = dataclasses.replace(
            base,
            at=words[0] if not base.at.line else base.at,
            argv=launch.argv,
            environment={**base.environment, **launch.environment},
            keyless=launch.demo,
        )
        reading.processes.append(process)
        return reading
    reading.notes += ray_notes(words, base)
    reading.ray = ray_node(words, base)
    reading.notes += weight_cache_notes(words, base.where)
    container = docker.run(words, base, library)
    if container is not None:
        reading.add(reading_of(container, lambda inner, process: started(inner, process, library, depth + 1)))
    elif depth < _DEPTH:
        for script in inner_scripts(words):
            reading.add(read(script, base, library, depth + 1))
    return reading


class _Script:
    def __init__(self, base: Process, library: Library, content: Text, depth: int) -> None:
        self.base = base
        self.library = library
        self.content = content
        self.depth = depth
        self.variables: Variables = dict(base.environment)
        self.exported: set[str] = set(base.environment)
        self.export_all = False
        self.whole = base.whole_environment
        self.reading = Reading()
        self.missing: list[Note] = []

    def run(self) -> Reading:
        scanner = Scanner(self.content)
        for line in scanner.commands():
            self._line(line)
        for inner, start in scanner.substituted if self.depth < _DEPTH else ():
            if _SERVER.search(inner):
                command = Text(inner, start, self.content.path, block=self.content.block)
                self.reading.add(read(command, self.base, self.library, self.depth + 1))
        self.reading.together(self.base)
        if self.reading.processes:
            self.reading.notes += self.missing
        return self.reading

    def _line(self, line: Line) -> None:
        words = line.words
        while words and words[0].literal() in _KEYWORDS and len(words[0].parts) == 1:
            words = words[1:]
        if not words:
            return
        if words[0].literal() in ("for", "select") and len(words) > 1:
            name = words[1].literal()
            self.variables[name] = Text(f"${name}", words[1].line, known=False)
            return
        prefix: dict[str, Text | list[Text]] = {}
        while words and self._assigned(words[0]) is not None:
            name, value = self._assigned(words[0]) or ("", [])
            prefix[name] = value
            words = words[1:]
        if not words:
            for name, value in prefix.items():
                self._set(name, value)
            return
        if words[0].literal() in ("export", "declare", "typeset", "local", "readonly"):
            self._declare(words)
            return
        texts = [text for word in words for text in expand(word, self.variables, self.content)]
        if texts:
            self._command(texts, line, {name: value for name, value in prefix.items() if isinstance(value, Text)})

    def _assigned(self, word: Word) -> tuple[str, Text | list[Text]] | None:
        first = word.parts[0] if word.parts else None
        match = _ASSIGNED.fullmatch(first.value) if first and not first.quoted and not first.variable else None
        if match is None:
            return None
        if word.array is not None:
            items = [text for item in word.array for text in expand(item, self.variables, self.content)]
            before = self.variables.get(match[1]) if match[2] else None
            whole = [*(before if isinstance(before, list) else []), *items]
            return match[1], whole if len(whole) <= WORDS else Text(f"${match[1]}", word.line, known=False)
        rest = Word(word.line, [Part(match[3], quoted=True), *(_quoted(part) for part in word.parts[1:])])
        value = (expand(rest, self.variables, self.content) or [Text("", word.line, self.content.path)])[0]
        old = self.variables.get(match[1])
        if match[2] and isinstance(old, Text):
            known = old.known and value.known and len(old) + len(value) <= LONGEST
            value = value.become(old + value if known else f"${match[1]}", known=known)
        return match[1], value

    def _set(self, name: str, value: Text | list[Text]) -> None:
        self.variables[name] = value
        if self.export_all:
            self.exported.add(name)

    def _declare(self, words: list[Word]) -> None:
        flags = "".join(word.literal() for word in words[1:] if word.literal().startswith("-"))
        for word in words[1:]:
            assigned = self._assigned(word)
            name = assigned[0] if assigned else word.literal()
            if assigned:
                self._set(*assigned)
            if words[0].literal() == "export" or "x" in flags:
                self.exported.add(name)

    def _command(self, words: list[Text], line: Line, prefix: dict[str, Text]) -> None:
        program = words[0].rsplit("/", 1)[-1]
        if program == "unset":
            for name in words[1:]:
                self.variables.pop(name, None)
        elif program == "set":
            self.export_all = ("-a" in words or "allexport" in words) or (self.export_all and "+a" not in words)
        elif program in ("source", ".") and len(words) > 1:
            self._source(words[1])
        elif program == "read":
            self.variables.update({name: name.become(f"${name}", known=False) for name in words[1:]})
        else:
            environment = {name: value for name in self.exported if isinstance(value := self.variables.get(name), Text)}
            base = dataclasses.replace(
                self.base,
                at=words[0],
                environment={**environment, **prefix},
                whole_environment=self.whole,
            )
            self.reading.add(started(words, base, self.library, self.depth))
        if line.document is not None and _SERVER.search(line.document[0]):
            self._document(words, *line.document)

    def _source(self, name: Text) -> None:
        if _TOOLS.fullmatch(name):
            return
        found = self.library.read(name, self.content.path or self.base.at.path) if name.known else None
        if found is None:
            self.whole = False
            self.missing.append(Note("unresolved", name, self._place("source"), f"the file {name}"))
            return
        for key, value in variables_of(found[1], found[0]).items():
            self._set(key, value)
            if value.tag == "exported":
                self.exported.add(key)

    def _document(self, words: list[Text], body: str, start: int, as_it_is: bool) -> None:
        script = Text(body, start, self.content.path, block=self.content.block)
        if words[0].rsplit("/", 1)[-1] in _SHELLS and self.depth < _DEPTH:
            self.reading.add(read(script, self.base, self.library, self.depth + 1))
        else:
            put = None if as_it_is else put_in(_PUT_IN, self._put_in, body)
            self.reading.documents.append(script.become(body if put is None else put))

    def _put_in(self, match: re.Match[str]) -> str:
        value = self.variables.get(match[2] or match[3] or "")
        return str(value) if isinstance(value, Text) and value.known else match[1] or match[0]

    def _place(self, part: str) -> str:
        return f"{self.base.where}.{part}" if self.base.where else part


def _quoted(part: Part) -> Part:
    return dataclasses.replace(part, quoted=True, whole_array=False)
