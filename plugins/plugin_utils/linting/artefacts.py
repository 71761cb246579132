# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Artefacts of any kind: read, judged, and nothing one of them holds keeps the others from being read."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..problems import Severity
from .finding import Finding, from_note, settled
from .lint import judge
from .reading import compose, config, declarations, dockerfile, environment, kinds, kubernetes, scripts, systemd
from .reading.files import found_files
from .reading.library import DiskLibrary, Library, NoLibrary, contents, decoded
from .reading.yaml_reading import documents, mapping
from .texts import Note, Process, Reading, Text, UnreadableError, UnrenderedError

# More servers than anybody starts from one artefact.
SERVERS = 200
# Files a script writes: how many are read, how deep one lies in the other, and how far down they begin.
DOCUMENTS = 50
_DEPTH = 3
_LINES = 10_000


@dataclass
class Artefact:
    """A text to be linted: its path (empty when it has none) and, where it is known, its kind.

    ``named`` is False for a file that was only found below a folder.
    """

    text: str
    path: str = ""
    kind: str | None = None
    named: bool = True


@dataclass
class Result:
    """What was found: the findings in order, the files that were read, and those that start no vLLM."""

    findings: list[Finding] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def lint_paths(paths: Sequence[str], release: str | None = None, today: datetime.date | None = None) -> Result:
    """Lint files, and the files below folders, on this machine.

    Files that cannot be read give one finding each (rule ``unreadable``) and the rest go on. ``release`` is the one to
    judge by where an artefact names none.
    """
    result = Result()
    artefacts: list[Artefact] = []
    named, refused = found_files(paths)
    result.findings += [_unreadable(path, error) for path, error in refused]
    for path, given in named:
        try:
            text = contents(Path(path))
        except UnreadableError as error:
            result.findings.append(_unreadable(path, error))
            continue
        artefacts.append(Artefact(text, path, named=given))
    lint_artefacts(artefacts, DiskLibrary([_root(path) for path in paths]), release, today, result)
    named_for_nothing = {artefact.path for artefact in artefacts if artefact.named} & set(result.skipped)
    result.findings = settled([*result.findings, *(_nothing(path) for path in named_for_nothing)])
    return result


def lint_text(
    text: str | bytes,
    kind: str | None = None,
    path: str = "",
    release: str | None = None,
    today: datetime.date | None = None,
) -> list[Finding]:
    """Lint one text that came without files; ``kind`` is one of ``kinds.KINDS`` or found out."""
    try:
        checked = decoded(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    except UnreadableError as error:
        return [_unreadable(path, error)]
    result = Result()
    lint_artefacts([Artefact(checked, path, kind)], NoLibrary(), release, today, result)
    return result.findings


def lint_artefacts(
    artefacts: Iterable[Artefact], library: Library, release: str | None, today: datetime.date | None, result: Result
) -> None:
    """Lint ``artefacts`` into ``result``; Kubernetes objects of one folder are taken together."""
    run = _Run(library, release, today or datetime.datetime.now(datetime.UTC).date())
    for artefact in artefacts:
        try:
            found = run.artefact(artefact)
        except UnrenderedError as error:
            # Every chart has templates; below a folder only those that start vLLM are worth a word.
            if artefact.named:
                result.findings.append(_unreadable(artefact.path, error))
            elif "vllm" in artefact.text.lower():
                note = Note("not-rendered", Text("", error.line or 1, artefact.path), "", error.found)
                result.findings.append(from_note(note, artefact.path))
            else:
                result.skipped.append(artefact.path)
        except UnreadableError as error:
            result.findings.append(_unreadable(artefact.path, error))
        except RecursionError:
            result.findings.append(_unreadable(artefact.path, _too_deep()))
        else:
            (result.read if found else result.skipped).append(artefact.path)
    for path, reading in run.kubernetes():
        run.take(reading, path)
    for path, reading in run.parts:
        # What belongs to a server that was judged was judged with it.
        if not library.was_read(path):
            run.take(reading, path)
    result.findings = settled([*result.findings, *run.findings])


def _root(path: str) -> Path:
    # What cannot be looked at was refused already.
    return Path(path) if os.path.isdir(path) else Path(path).parent  # noqa: PTH112 - says no where Path raises


def _unreadable(path: str, error: UnreadableError) -> Finding:
    return Finding(path, error.line or 1, "", "unreadable", error.found, error.expected, error.remedy, Severity.ERROR)


def _nothing(path: str) -> Finding:
    expected = "a command, unit, container, manifest, recipe or declaration that starts vLLM"
    remedy = "Name the file that starts it."
    return from_note(
        Note("unresolved", Text("", 1, path), "", "nothing that starts vLLM", None, remedy, expected), path
    )


def _too_deep() -> UnreadableError:
    return UnreadableError("values nested too deeply", "Nothing vLLM reads is nested like that; flatten it.")


class _Run:
    def __init__(self, library: Library, release: str | None, today: datetime.date) -> None:
        self.library = library
        self.release = release
        self.today = today
        self.findings: list[Finding] = []
        self.objects: dict[str, list[kubernetes.Object]] = {}
        self.parts: list[tuple[str, Reading]] = []
        self.depth = 0

    def artefact(self, artefact: Artefact) -> bool:
        """Read one artefact; return False when it holds nothing that starts vLLM."""
        text, path = artefact.text, artefact.path
        kind: str | None = artefact.kind or kinds.by_name(path) or kinds.by_content(text)
        parsed: list[Any] = []
        if kind == "yaml" or kind in kinds.YAML_KINDS:
            parsed = documents(text, path)
            kind = kinds.of_documents(parsed) if kind == "yaml" else kind
        if kind is None:
            return self._values(artefact, parsed)
        if kind == "kubernetes":
            folder = path.rpartition("/")[0]
            self.objects.setdefault(folder, []).extend(kubernetes.objects(parsed, path))
            return True
        if kind == "declaration":
            self.findings += declarations.read(mapping(parsed[0] if parsed else None), path, self.library, self.today)
            return True
        reading = self._reading(kind, text, path, parsed)
        if kind in ("environment", "config") or path.endswith(".conf"):
            self.parts.append((path, reading))
        else:
            self.take(reading, path)
        return bool(reading.processes or reading.notes or reading.documents)

    def _values(self, artefact: Artefact, parsed: list[Any]) -> bool:
        """Say that the values of a chart are no manifests; return False for what is nothing of the kind."""
        if "vllm" not in artefact.text.lower() or not kinds.are_values(artefact.path, parsed):
            return False
        at = Text("", 1, artefact.path)
        self.findings.append(from_note(Note("not-rendered", at, "", "values of a chart"), artefact.path))
        return True

    def _reading(self, kind: str, text: str, path: str, parsed: list[Any]) -> Reading:
        if kind == "compose":
            return compose.read(mapping(parsed[0] if parsed else None), path, self.library)
        if kind == "config":
            return config.read(text, path)
        if kind in ("command", "script"):
            return self._script(text, path, bare=kind == "command")
        return _PLAIN[kind](text, path, self.library)

    def _script(self, text: str, path: str, bare: bool) -> Reading:
        if not bare and "vllm" not in text.lower() and "ray" not in text:
            return Reading()
        words = Text(text, 1, path, block=True)
        reading = scripts.read(words, Process("", Text("", 1, path)), self.library)
        if bare and not (reading.processes or reading.notes or reading.documents):
            # A command line may also begin behind `vllm serve`.
            reading = scripts.read(
                words.become(f"vllm serve {text.lstrip()}"), Process("", Text("", 1, path)), self.library
            )
        return reading

    def take(self, reading: Reading, path: str) -> None:
        """Judge what was read from ``path``."""
        if len(reading.processes) > SERVERS:
            found = f"{len(reading.processes)} servers, of which {SERVERS} were judged"
            reading.notes.append(Note("unresolved", Text("", 1, path), "", found, remedy="Split the artefact."))
        self.findings += [from_note(note, path) for note in reading.notes]
        for process in reading.processes[:SERVERS]:
            reader = self._config_reader(process, path)
            self.findings += judge(process, reader, self.release, path)
        for index, document in enumerate(reading.documents):
            if index >= DOCUMENTS or not self._document(document, path):
                found = "a here-document with vLLM in it, which is none of the kinds that are read"
                self.findings.append(from_note(Note("unresolved", document, "here-document", found), path))

    def _document(self, document: Text, path: str) -> bool:
        """Read what a script in ``path`` writes or hands on; return False when it holds nothing that is read."""
        kind = kinds.by_content(document)
        # What is no script by its first line may be a text for people.
        if kind == "environment" or (kind == "script" and not document.startswith("#!")):
            return False
        if self.depth >= _DEPTH or document.line > _LINES:
            return False
        self.depth += 1
        try:
            return self.artefact(Artefact("\n" * (document.line - 1) + document, path, kind))
        except UnreadableError:
            return False
        finally:
            self.depth -= 1

    def _config_reader(self, process: Process, path: str) -> Callable[[Text], Sequence[Text] | None]:
        def read(name: Text) -> Sequence[Text] | None:
            file = process.on_host(name)
            found = self.library.read(file, file.path or path) if file is not None and file.known else None
            return config.words_of(found[1], found[0]) if found is not None else None

        return read

    def kubernetes(self) -> Iterable[tuple[str, Reading]]:
        """Return what the objects gathered so far start, by file."""
        while self.objects:
            # A pod's script may write manifests too, which are gathered while its findings are taken.
            for name in list(self.objects):
                yield from kubernetes.read(self.objects.pop(name), self.library).items()


def _systemd(text: str, path: str, library: Library) -> Reading:
    return (systemd.read_drop_in if path.endswith(".conf") else systemd.read_service)(text, path, library)


def _quadlet(text: str, path: str, library: Library) -> Reading:
    return (systemd.read_drop_in if path.endswith(".conf") else systemd.read_quadlet)(text, path, library)


def _environment(text: str, path: str, _library: Library) -> Reading:
    return environment.read(text, path)


_PLAIN: dict[str, Callable[[str, str, Library], Reading]] = {
    "dockerfile": dockerfile.read,
    "systemd": _systemd,
    "quadlet": _quadlet,
    "environment": _environment,
}
