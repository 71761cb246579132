# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Words that remember where they stand, and what readers hand to the rules."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..problems import Severity

# No program can be given a longer word (MAX_ARG_STRLEN of Linux); a few bytes may stand for more than memory holds.
LONGEST = 131072


class Text(str):
    """A piece of an artefact and its place.

    ``path`` is the file it stands in (empty: the artefact at hand), ``line`` counts from 1 (0: unknown). ``known`` is
    False when something in it could not be resolved, so no value can be judged. ``literal`` is False when the value
    came from a reference (a secret, a variable) and not from the artefact's own text. ``tag`` is the YAML type.
    ``block`` is True when each line of the text is a line of the file; where lines were joined, ``breaks`` says at
    which offset which line begins.
    """

    __slots__ = ("block", "breaks", "known", "line", "literal", "path", "tag")

    line: int
    path: str
    known: bool
    literal: bool
    tag: str
    block: bool
    breaks: tuple[tuple[int, int], ...]

    def __new__(
        cls,
        value: str,
        line: int = 0,
        path: str = "",
        *,
        known: bool = True,
        literal: bool = True,
        tag: str = "str",
        block: bool = False,
        breaks: tuple[tuple[int, int], ...] = (),
    ) -> Text:
        """Make ``value`` remember its place."""
        self = super().__new__(cls, value)
        self.line = line
        self.path = path
        self.known = known
        self.literal = literal
        self.tag = tag
        self.block = block
        self.breaks = breaks
        return self

    def become(self, value: str, **changes: Any) -> Text:
        """Return ``value`` at the place of this text, with the other attributes as they are or as ``changes`` say."""
        merged = {"known": self.known, "literal": self.literal, "tag": self.tag, "block": self.block, **changes}
        return Text(value, self.line, self.path, **merged)


def put_in(pattern: re.Pattern[str], put: Callable[[re.Match[str]], str], written: str) -> str | None:
    """Return ``written`` with what ``put`` makes of every match; None when that is longer than any word may be."""
    pieces: list[str] = []
    length = end = 0
    for match in pattern.finditer(written):
        pieces += [written[end : match.start()], put(match)]
        end = match.end()
        length += len(pieces[-2]) + len(pieces[-1])
        if length > LONGEST:
            return None
    return "".join([*pieces, written[end:]])


def text(value: str) -> Text:
    """Return ``value`` as a text: itself when it is one, else one without a place."""
    return value if isinstance(value, Text) else Text(str(value))


@dataclass(frozen=True)
class Note:
    """What a reader or a cross rule saw: the rule it falls under, where, and what was found (never a secret).

    The catalogue knows how bad it is and how to mend it; ``severity`` and ``remedy`` overrule it for this case.
    """

    rule: str
    at: Text
    place: str
    found: str
    severity: Severity | None = None
    remedy: str | None = None
    expected: str | None = None


@dataclass
class Process:
    """One vLLM server as an artefact starts it.

    ``argv`` are the words after ``vllm serve``, ``environment`` what it is given; either is incomplete when the
    artefact refers to something that could not be read. ``network`` is ``host`` when its sockets are the host's own,
    ``container`` when it has a network namespace to itself. ``at`` is where the process is started.
    ``mounts`` are places in a container with what of the host is there; None: its files are the host's.
    ``volumes`` are all places something is mounted at, with what makes it a network share; None: nothing does.
    ``ray`` is the word that starts a node of Ray beside it.
    ``keyless`` is the program when it is one that asks for no key whatever it is given.
    ``fragment`` marks a part of a process (a file of variables): what is missing there says nothing.
    """

    where: str
    at: Text
    argv: list[Text] = field(default_factory=list)
    environment: dict[str, Text] = field(default_factory=dict)
    whole_arguments: bool = True
    whole_environment: bool = True
    network: str = "host"
    release: Text | None = None
    fragment: bool = False
    only_arguments: bool = False
    keyless: Text | None = None
    mounts: tuple[tuple[str, Text], ...] | None = None
    volumes: tuple[tuple[str, Text | None], ...] = ()
    ray: Text | None = None

    def share(self, path: Text) -> Text | None:
        """Return what makes ``path`` of a container lie on a network share, None when nothing does."""
        under = [volume for volume in self.volumes if path == volume[0] or path.startswith(f"{volume[0].rstrip('/')}/")]
        return max(under, key=lambda volume: len(volume[0]))[1] if under else None

    def on_host(self, path: Text) -> Text | None:
        """Return where the host has the file the process knows as ``path``; None when it is the container's own."""
        if self.mounts is None:
            return path
        for place, source in sorted(self.mounts, key=lambda mount: len(mount[0]), reverse=True):
            if path == place or path.startswith(f"{place.rstrip('/')}/"):
                inner = path[len(place.rstrip("/")) :]
                return source.become(f"{source.rstrip('/')}{inner}", known=source.known and path.known)
        return None


@dataclass
class Reading:
    """What was read from one artefact: the servers it starts and what was noticed around them.

    ``documents`` are the texts of files it writes or hands to programs, which are artefacts of their own. ``ray`` is the
    word that starts a node of Ray.
    """

    processes: list[Process] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    documents: list[Text] = field(default_factory=list)
    ray: Text | None = None

    def together(self, base: Process) -> None:
        """Tell the servers that run where ``base`` does, and in no container of their own, of the node of Ray there."""
        for process in self.processes:
            if process.mounts is base.mounts:
                process.ray = process.ray or self.ray

    def add(self, other: Reading) -> None:
        """Take over what ``other`` holds."""
        self.processes += other.processes
        self.notes += other.notes
        self.documents += other.documents
        self.ray = self.ray or other.ray


class UnreadableError(Exception):
    """An artefact that cannot be read.

    The message says why, ``line`` where (0: the whole of it), ``expected`` what could have been read and ``remedy``
    what to do.
    """

    def __init__(self, found: str, remedy: str, line: int = 0, expected: str = "an artefact that can be read") -> None:
        super().__init__(found)
        self.found = found
        self.remedy = remedy
        self.line = line
        self.expected = expected


class UnrenderedError(UnreadableError):
    """A template that has to be rendered before it can be read."""
