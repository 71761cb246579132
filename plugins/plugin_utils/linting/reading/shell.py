# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shell text taken apart into commands, far enough to see how a server is started.

Nothing is run. Quotes, comments, line continuations, assignments, arrays and ``${A:-b}`` are followed; what would need
a running shell (substituted commands, positional parameters, unset variables) becomes a word that is not known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ..texts import Text

_OPERATORS = re.compile(r"&&|\|\||;;&?|;&|&>>?|>\||<<<|<<-?|<&|>&|>>|[;&|()<>\n]")
# Defaults within defaults that are followed.
NESTED = 20

_BLANKS = re.compile(r"[ \t\r]+")
# What a double quote takes as it is, and what a backslash stands before in it.
_QUOTED = re.compile(r'(?:[^"\\$`]|\\["\\$`\n]|\\(?!["\\$`\n]))+')
_ESCAPED = re.compile(r'\\(["\\$`\n])')
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\+?)=")
# "$(cd "$(dirname "$0")" && pwd)" and its kin: the folder of the script.
_SELF = r"(\$0|\$\{?BASH_SOURCE(\[0\])?\}?|\$\{0\})"
_FILE = rf"(\"?{_SELF}\"?|\"?\$\((readlink -f|realpath)( --)? \"?{_SELF}\"?\)\"?)"
_DIRNAME = rf"dirname( --)? {_FILE}"
_FOLDER = re.compile(rf"\(({_DIRNAME}|cd( -P)?( --)? \"?\$\({_DIRNAME}\)\"?( >/?dev/null( 2>&1)?)? && pwd( -P)?)\)")
_SPECIAL = re.compile(r"[@*#?$!0-9-]")


@dataclass
class Part:
    """A stretch of a word: literal text, or a variable with the text to use in its place when it is unset."""

    value: str
    quoted: bool = False
    variable: bool = False
    opaque: bool = False
    default: str | None = None
    whole_array: bool = False


@dataclass
class Word:
    """A word before expansion, and the line it starts on."""

    line: int
    parts: list[Part] = field(default_factory=list)
    array: list[Word] | None = None

    def literal(self) -> str:
        """Return the word's literal text, variables left out."""
        return "".join(part.value for part in self.parts if not part.variable and not part.opaque)


@dataclass
class Line:
    """A simple command: its words, redirections left out, and the here-document it reads.

    ``document`` is its text, the line it starts on and whether the shell takes it as it is.
    """

    words: list[Word] = field(default_factory=list)
    document: tuple[str, int, bool] | None = None


class Scanner:
    """Takes shell text apart; its words have the lines of the file the text is from.

    ``substituted`` are the commands with here-documents in ``$(...)`` it went over, and their lines.
    """

    def __init__(self, content: Text) -> None:
        self.content = str(content)
        self.at = 0
        self.line = content.line
        self.step = content.block
        self.breaks = list(content.breaks)
        self.waiting: list[tuple[Word, bool, Line]] = []
        self.substituted: list[tuple[str, int]] = []

    def commands(self) -> list[Line]:
        """Return the simple commands in order; control structures are read through as if every branch ran."""
        found: list[Line] = []
        current = Line()
        skip = False
        while self.at < len(self.content):
            operator = self._operator()
            if operator is None:
                word = self._word()
                if word is None:
                    continue
                if skip:
                    skip = False
                else:
                    current.words.append(word)
            elif operator in ("<", ">", ">>", ">|", ">&", "<&", "&>", "&>>", "<<<"):
                skip = True
                if current.words and re.fullmatch(r"\d", current.words[-1].literal()):
                    current.words.pop()
            elif operator in ("<<", "<<-"):
                delimiter = self._word()
                if delimiter is not None:
                    self.waiting.append((delimiter, operator == "<<-", current))
            else:
                skip = False
                found.append(current)
                current = Line()
                if operator == "\n":
                    self._documents()
        return [line for line in [*found, current] if line.words]

    def _advance(self, count: int) -> str:
        taken = self.content[self.at : self.at + count]
        self.at += count
        if self.step:
            self.line += taken.count("\n")
        while self.breaks and self.breaks[0][0] <= self.at:
            self.line = self.breaks.pop(0)[1]
        return taken

    def _operator(self) -> str | None:
        """Skip blanks, comments and continuations; return the operator that follows, None before a word."""
        while self.at < len(self.content):
            if self.content.startswith("\\\n", self.at):
                self._advance(2)
            elif blanks := _BLANKS.match(self.content, self.at):
                self._advance(len(blanks[0]))
            elif self.content[self.at] == "#":
                end = self.content.find("\n", self.at)
                self._advance((end if end >= 0 else len(self.content)) - self.at)
            else:
                break
        match = _OPERATORS.match(self.content, self.at)
        return self._advance(len(match[0])) if match else None

    def _documents(self) -> None:
        for word, tabs, line in self.waiting:
            start, body, delimiter = self.line, [], word.literal()
            while self.at < len(self.content):
                end = self.content.find("\n", self.at)
                text = self._advance((end + 1 if end >= 0 else len(self.content)) - self.at).rstrip("\n")
                if (text.lstrip("\t") if tabs else text) == delimiter:
                    break
                body.append(text)
            line.document = ("\n".join(body), start, any(part.quoted for part in word.parts))
        self.waiting.clear()

    def _word(self) -> Word | None:
        word = Word(self.line)
        while self.at < len(self.content):
            character = self.content[self.at]
            if self.content.startswith("\\\n", self.at):
                self._advance(2)
            elif character in " \t\r\n" or (_OPERATORS.match(self.content, self.at) is not None):
                if character == "(" and _ASSIGNMENT.fullmatch(word.literal()):
                    self._advance(1)
                    word.array = self._array()
                break
            elif character == "'":
                word.parts.append(Part(self._until("'"), quoted=True))
            elif character == '"':
                self._advance(1)
                word.parts += self._double()
            elif character == "\\":
                word.parts.append(Part(self._advance(2)[1:], quoted=True))
            elif character == "$":
                word.parts.append(self._dollar(quoted=False))
            elif character == "`":
                self._until("`")
                word.parts.append(Part("", opaque=True))
            else:
                word.parts.append(Part(self._plain()))
        if not word.parts and word.array is None:
            # Nothing here begins a word (the end of the text after a backslash).
            self._advance(1)
            return None
        return word

    def _plain(self) -> str:
        match = re.compile(r"[^\s\\'\"$`;&|()<>]+").match(self.content, self.at)
        return self._advance(len(match[0]) if match else 1)

    def _array(self) -> list[Word]:
        words: list[Word] = []
        while self.at < len(self.content):
            operator = self._operator()
            if operator == ")":
                break
            if operator is None:
                word = self._word()
                if word is not None:
                    words.append(word)
        return words

    def _until(self, mark: str) -> str:
        end = self.content.find(mark, self.at + 1)
        end = len(self.content) if end < 0 else end
        return self._advance(end + 1 - self.at)[1:].removesuffix(mark)

    def _double(self) -> list[Part]:
        parts: list[Part] = [Part("", quoted=True)]
        while self.at < len(self.content):
            character = self.content[self.at]
            if character == '"':
                self._advance(1)
                break
            if character == "$":
                parts.append(self._dollar(quoted=True))
            elif character == "`":
                self._until("`")
                parts.append(Part("", quoted=True, opaque=True))
            else:
                match = _QUOTED.match(self.content, self.at)
                text = self._advance(len(match[0]) if match else 1)
                parts.append(Part(_ESCAPED.sub(lambda found: found[1].strip("\n"), text), quoted=True))
        return parts

    def _dollar(self, quoted: bool) -> Part:
        following = self.content[self.at + 1 : self.at + 2]
        if following == "'" and not quoted:
            self._advance(1)
            return Part(self._until("'"), quoted=True)
        if following == "(":
            self._advance(1)
            if folder := _FOLDER.match(self.content, self.at):
                self._advance(len(folder[0]))
                return Part(".", quoted=quoted)
            line, inner = self.line, self._balanced("(", ")")
            if "<<" in inner:
                self.substituted.append((inner, line))
            return Part("", quoted=quoted, opaque=True)
        if following == "{":
            self._advance(1)
            return braced(self._balanced("{", "}"), quoted)
        match = _NAME.match(self.content, self.at + 1) or _SPECIAL.match(self.content, self.at + 1)
        if match is None:
            return Part(self._advance(1), quoted=quoted)
        self._advance(1 + len(match[0]))
        return Part(match[0], quoted=quoted, variable=True, whole_array=match[0] in ("@", "*"))

    def _balanced(self, opening: str, closing: str) -> str:
        depth = 0
        start = self.at
        for index in range(self.at, len(self.content)):
            if self.content[index] == opening:
                depth += 1
            elif self.content[index] == closing:
                depth -= 1
                if depth == 0:
                    break
        else:
            index = len(self.content) - 1
        self._advance(index + 1 - start)
        return self.content[start + 1 : index]


def braced(inner: str, quoted: bool) -> Part:
    """Return the part ``${inner}`` stands for."""
    if inner.count("${") > NESTED:
        return Part("", quoted=quoted, opaque=True)
    match = re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]*|[@*#?$!0-9-])(\[[@*]\])?(?:(:?[-=])(.*))?", inner, re.DOTALL)
    if match is None:
        # Other ways to put a variable in: its name is all that is known.
        name = _NAME.match(inner)
        return Part(name[0] if name else "", quoted=quoted, opaque=True)
    return Part(match[1], quoted=quoted, variable=True, default=match[4], whole_array=bool(match[2]))
