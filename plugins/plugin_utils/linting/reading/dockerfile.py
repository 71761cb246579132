# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recipes of images: what a container of the last stage starts and what is put into its environment."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..releases import of_pin
from ..texts import Reading, Text, put_in
from . import scripts
from .containers import Container, reading_of, user_notes
from .library import Library

_INSTRUCTION = re.compile(r"\s*([A-Za-z]+)\s+(.*)", re.DOTALL)
_HEREDOC = re.compile(r"<<-?\s*([\"']?)(\w+)\1")
_PAIR = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(\"(?:[^\"\\]|\\.)*\"|'[^']*'|(?:[^\s\\]|\\.)*)", re.DOTALL)
_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::-([^{}]*))?\})")


@dataclass
class _Stage:
    image: Text
    variables: dict[str, Text] = field(default_factory=dict)
    arguments: dict[str, Text] = field(default_factory=dict)
    entrypoint: list[Text] | None = None
    command: list[Text] | None = None
    user: Text | None = None
    shell: bool = False


def read(content: str, path: str, library: Library) -> Reading:
    """Return the server an image made from ``content`` starts; who runs it may add words and variables."""
    before: dict[str, Text] = {}
    stages: dict[str, _Stage] = {}
    stage: _Stage | None = None
    for name, value in _instructions(content, path):
        if name == "FROM":
            stage = _from(value, before, stages)
        elif stage is None:
            if name == "ARG":
                before.update(_pairs(value, before))
        else:
            _apply(stage, name, value)
    if stage is None:
        return Reading()
    container = Container("", stage.image, image=stage.image, environment=stage.variables, whole_environment=False)
    container.entrypoint, container.command = stage.entrypoint, stage.command
    container.fragment = stage.entrypoint is None and stage.command is None
    container.settings += user_notes(stage.user, "USER")
    reading = reading_of(container, lambda words, base: scripts.started(words, base, library))
    pin = of_pin(content, path)
    for process in reading.processes:
        process.release = process.release or pin
    return reading


def _from(value: Text, before: dict[str, Text], stages: dict[str, _Stage]) -> _Stage:
    words = [word for word in value.split() if not word.startswith("--")]
    image = _put(value.become(words[0] if words else ""), before)
    base = stages.get(image.lower())
    stage = (
        _Stage(image)
        if base is None
        else _Stage(base.image, dict(base.variables), {}, base.entrypoint, base.command, base.user, base.shell)
    )
    if len(words) > 2 and words[1].lower() == "as":
        stages[words[2].lower()] = stage
    return stage


def _apply(stage: _Stage, name: str, value: Text) -> None:
    if name == "ENV":
        stage.variables.update(_pairs(value, {**stage.arguments, **stage.variables}))
    elif name == "ARG":
        # An empty one waits for its value.
        given = _pairs(value, stage.arguments)
        stage.arguments.update(
            {name: held.become(held, known=held.known and bool(held)) for name, held in given.items()}
        )
    elif name == "USER":
        stage.user = _put(value, {**stage.arguments, **stage.variables})
    elif name == "ENTRYPOINT":
        # An entry point takes the command of the image below away, and one for the shell takes none.
        stage.entrypoint, stage.command = _words(value), None
        stage.shell = not value.lstrip().startswith("[")
    elif name == "CMD" and not stage.shell:
        stage.command = _words(value)


def _words(value: Text) -> list[Text]:
    try:
        words = json.loads(re.sub(r"\\\s*\n", " ", value)) if value.startswith("[") else None
    except (ValueError, RecursionError):
        words = None
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        return [value.become(word) for word in words]
    return [value.become("/bin/sh"), value.become("-c"), value]


def _pairs(value: Text, known: dict[str, Text]) -> dict[str, Text]:
    found = {}
    line, end = value.line, 0
    for match in _PAIR.finditer(value):
        line, end = line + value.count("\n", end, match.start()), match.start()
        text = match[2][1:-1] if match[2][:1] in ("'", '"') else match[2]
        at = Text(text, line, value.path)
        found[match[1]] = at if match[2].startswith("'") else _put(at, known)
    if not found and " " in value.strip():
        # The old form: ENV NAME all the rest.
        name, _blank, rest = value.strip().partition(" ")
        found[name] = _put(value.become(rest.strip()), known)
    return found


def _put(value: Text, known: dict[str, Text]) -> Text:
    sure = value.known

    def put(match: re.Match[str]) -> str:
        nonlocal sure
        held = known.get(match[1] or match[2])
        if held is not None and held.known:
            return str(held)
        sure = sure and match[3] is not None
        return match[3] if match[3] is not None else match[0]

    text = put_in(_VARIABLE, put, value)
    return value.become(value if text is None else text, known=sure and text is not None, literal="$" not in value)


def _instructions(content: str, path: str) -> Iterator[tuple[str, Text]]:
    lines = content.split("\n")
    index = 0
    while index < len(lines):
        first = index
        held: list[str] = []
        while index < len(lines):
            line = lines[index]
            index += 1
            # A comment in the middle of an instruction is no part of it.
            held.append("\\" if held and line.lstrip().startswith("#") else line)
            if not held[-1].rstrip().endswith("\\"):
                break
        match = _INSTRUCTION.match("\n".join(text.rstrip() for text in held))
        if match is None or lines[first].lstrip().startswith("#"):
            continue
        name = match[1].upper()
        if name in ("RUN", "COPY", "ADD"):
            for document in _HEREDOC.finditer(match[2]):
                end = (at + 1 for at in range(index, len(lines)) if lines[at].strip() == document[2])
                index = next(end, len(lines))
        yield name, Text(match[2].strip().removesuffix("\\").rstrip(), first + 1, path, block=True)
