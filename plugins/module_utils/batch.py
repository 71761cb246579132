# Copyright (c) 2026 hardened.vllm maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A batch of files as one transaction: what differs, how it is shown, and carrying it out."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import posixpath
import re
from dataclasses import dataclass

from ansible_collections.hardened.vllm.plugins.module_utils import commands, files, masking

MODE = re.compile(r"0[0-7]{3,4}")


class Failed(Exception):
    """The batch failed after it had begun.

    ``restored``: whether everything was put back. ``paths``: what had changed.
    """

    def __init__(self, text, restored, paths):
        super().__init__(text)
        self.restored = restored
        self.paths = paths


@dataclass(frozen=True)
class Change:
    """One path that differs: its state now, the wanted state and, for files, the entry it comes from."""

    path: str
    now: files.State
    wanted: files.State
    entry: dict | None = None


class Batch:
    """The wanted state of a host's files.

    ``params`` has the shape of the module's options. ``lenient`` (check mode) accepts users, groups and parent
    directories that an earlier task would have made. Raises FileProblem with all mistakes of the input at once.
    """

    def __init__(self, params, lenient=False):
        self._params = params
        self._lenient = lenient
        self._secrets = params["secrets"]
        problems = list(_mistakes(params))
        if problems:
            raise files.FileProblem("; ".join(problems))
        self._masks = dict(self._secrets)

    def changes(self):
        """Return what differs, in the order it is to be done; FileProblem when something unexpected is in the way."""
        found = []
        planned = set()
        for entry in self._params["directories"]:
            now = self._state(entry["path"], files.DIRECTORY, planned)
            wanted = files.State(files.DIRECTORY, None, *self._metadata(entry))
            planned.add(entry["path"])
            if now != wanted:
                found.append(Change(entry["path"], now, wanted))
        for entry in self._params["files"]:
            now = self._state(entry["path"], files.FILE, planned)
            content = masking.expand(entry["content"], self._secrets).encode("utf-8", "surrogateescape")
            wanted = files.State(files.FILE, content, *self._metadata(entry), in_place=entry.get("live", False))
            if now.kind == files.FILE:
                self._masks.update(masking.old_values(entry["content"], _text(now)))
            if _without_time(now) != wanted:
                found.append(Change(entry["path"], now, wanted, entry))
        for path in self._params["absent"]:
            now = files.read_state(path)
            if now.kind != files.ABSENT:
                found.append(Change(path, now, files.State(files.ABSENT)))
        return found

    def _state(self, path, kind, planned):
        now = files.read_state(path)
        if kind == files.FILE and now.kind == files.DIRECTORY:
            raise files.FileProblem("%s: a directory is where a file should be; move it away first" % path)
        if kind == files.DIRECTORY and now.kind not in (files.DIRECTORY, files.ABSENT):
            raise files.FileProblem("%s: a %s is where a directory should be; move it away first" % (path, now.kind))
        parent = posixpath.dirname(path)
        if parent not in planned and not self._lenient and not os.path.isdir(parent):
            raise files.FileProblem(
                "%s: its directory %s does not exist; list it in directories, before what is in it" % (path, parent)
            )
        return now

    def _metadata(self, entry):
        try:
            return int(entry["mode"], 8), files.uid_of(entry["owner"]), files.gid_of(entry["group"])
        except files.FileProblem as problem:
            if self._lenient:
                return int(entry["mode"], 8), files.NOT_YET, files.NOT_YET
            raise files.FileProblem("%s: %s" % (entry["path"], problem)) from None

    def diff(self, change):
        """Return the members of Ansible's diff for one change: contents and, apart, kind, mode and owner."""
        parts = []
        if change.entry is not None or change.now.kind == files.FILE:
            before, after = self._texts(change)
            if before != after or change.now.kind == files.ABSENT:
                parts.append(_part(change.path, before, after))
        before, after = change.now.describe(), change.wanted.describe()
        if before != after:
            parts.append(_part(change.path + " (attributes)", before, after))
        return parts

    def _texts(self, change):
        if change.entry is None:
            return "<content not shown: the file is removed>\n", ""
        old = _text(change.now) if change.now.kind == files.FILE else None
        if change.now.kind == files.FILE and change.now.content == change.wanted.content:
            return "", ""
        return masking.shown(change.entry["content"], old, self._secrets, change.entry["secret"])

    def _marker(self):
        """Return the note of a run under way; named after its programs, so that the same task's next run finds it."""
        identity = json.dumps([self._params["check"], self._params["apply"]], sort_keys=True)
        name = "unfinished-%s" % hashlib.sha256(identity.encode()).hexdigest()[:16]
        return posixpath.join(self._params["state_directory"], name)

    def unfinished(self):
        """Tell whether an earlier run with the same programs was killed before it ended."""
        return os.path.exists(self._marker())

    def carry_out(self, changes):
        """Swap everything in, check, apply. Raises Failed with what went wrong and what was put back."""
        resumed = self.unfinished()
        if not changes and not resumed:
            return
        paths = [change.path for change in changes]
        self._begin()
        transaction = files.Transaction()
        began = False
        try:
            for change in changes:
                files.remove_leftovers(change.path)
                transaction.change(change.path, change.wanted)
            for program in self._params["check"]:
                commands.run(program["argv"], program["timeout_seconds"])
            began = True
            self._apply(paths, everything=resumed)
        except (files.FileProblem, commands.CommandError, OSError) as error:
            self._fail(error, transaction, paths, began, resumed)
        self._end()

    def _apply(self, paths, everything=False):
        for program in self._params["apply"]:
            if everything or not program["paths"] or _touched(program["paths"], paths):
                commands.run(program["argv"], program["timeout_seconds"])

    def _fail(self, error, transaction, paths, began, resumed):
        """``began``: some program of apply has run. ``resumed``: what is on disk was never known to be good."""
        text = [self._safe(error)]
        problems = transaction.put_back()
        settled = not problems and not resumed
        if problems:
            text.append("Not everything could be put back: %s" % self._safe("; ".join(problems)))
        elif paths:
            text.append("All files are as they were before.")
        if resumed:
            text.append("An earlier run was stopped before it had checked and applied what it wrote.")
        if began and paths:
            try:
                self._apply(paths)
                text.append("The old state was applied again.")
            except (files.FileProblem, commands.CommandError) as second:
                text.append("Applying the old state failed too: %s" % self._safe(second))
                settled = False
        if settled:
            self._end()
        raise Failed("\n".join(text), not problems, paths) from None

    def _safe(self, text):
        return masking.mask(str(text), self._masks)

    def _begin(self):
        folder = self._params["state_directory"]
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            with open(self._marker(), "w", encoding="utf-8") as handle:
                os.fsync(handle.fileno())
        except OSError as error:
            raise files.FileProblem("%s: cannot note the run there: %s" % (folder, error.strerror)) from None

    def _end(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._marker())


def _touched(wanted, changed):
    return any(path == top or path.startswith(top.rstrip("/") + "/") for top in wanted for path in changed)


def _text(state):
    return (state.content or b"").decode("utf-8", "backslashreplace")


def _without_time(state):
    return files.State(state.kind, state.content, state.mode, state.uid, state.gid)


def _part(header, before, after):
    return {"before": before, "after": after, "before_header": header, "after_header": header}


def _mistakes(params):
    secrets = params["secrets"]
    for name, value in sorted(secrets.items()):
        if not isinstance(value, str) or not value:
            yield "secrets.%s: expected a text that is not empty" % name
    seen = {}
    for option in ("directories", "files", "absent"):
        for number, entry in enumerate(params[option]):
            where = "%s[%d]" % (option, number)
            path = entry if option == "absent" else entry["path"]
            if not posixpath.isabs(path) or posixpath.normpath(path) != path or path.startswith("//"):
                yield "%s: path %r: expected an absolute path without '..', '//' or a trailing slash" % (where, path)
            if path in seen:
                yield "%s: path %s is also in %s; each path may appear once" % (where, path, seen[path])
            seen[path] = where
            if option != "absent" and not MODE.fullmatch(entry["mode"]):
                yield "%s: mode %r: expected a quoted octal number with a leading zero, such as '0640'" % (
                    where,
                    entry["mode"],
                )
    for number, entry in enumerate(params["files"]):
        yield from _secret_mistakes("files[%d] (%s)" % (number, entry["path"]), entry, secrets)


def _secret_mistakes(where, entry, secrets):
    used = masking.names(entry["content"])
    for name in used:
        if name not in secrets:
            yield "%s: @secret:%s@ is used, but secrets has no such member" % (where, name)
    if entry["secret"] and not used:
        yield "%s: secret is true, but the content takes nothing from secrets; contents are logged on the node" % where
    if used and MODE.fullmatch(entry["mode"]) and int(entry["mode"], 8) & 0o007:
        yield "%s: mode %s lets every user in, but the file holds a secret; use '0600' or '0640'" % (
            where,
            entry["mode"],
        )
