# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the files of the engine that is known to work until the new ones have proved themselves."""

from __future__ import annotations

import base64
import contextlib
import json
import os

from ansible_collections.hardened.vllm.plugins.module_utils import files

FORMAT = 1


class Kept:
    """The former states of some paths, in one file at ``path`` that only root can read."""

    def __init__(self, path):
        self._path = path
        self._start = path.replace("-before.json", "") + "-start"

    def exists(self):
        return os.path.exists(self._path)

    def keep(self, paths, live=()):
        """Note the present states of ``paths`` (list of str). An earlier note stays: what is there now never worked.

        Those in ``live`` come back in place: an engine that was not stopped reads them again.
        """
        if self.exists():
            return
        entries = [dict(_plain(files.read_state(path)), path=path, live=path in live) for path in paths]
        text = json.dumps({"format": FORMAT, "paths": entries})
        try:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            files.write(self._path, files.State(files.FILE, text.encode(), 0o600))
        except OSError as error:
            raise files.FileProblem(
                "%s: cannot keep the former state there: %s" % (self._path, error.strerror)
            ) from None

    def states(self):
        """{path: State} as noted. FileProblem when the note is damaged."""
        try:
            with open(self._path, encoding="utf-8") as handle:
                noted = json.load(handle)
            if noted["format"] != FORMAT:
                raise ValueError("format %r" % noted["format"])
            return {entry["path"]: _state(entry) for entry in noted["paths"]}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise files.FileProblem(
                "%s: the note of the former state is damaged (%s); remove it and run again" % (self._path, error)
            ) from None

    def note_start(self, seconds):
        """Keep how long a start took, beside the note of the former state."""
        if seconds > 0:
            try:
                os.makedirs(os.path.dirname(self._start), mode=0o700, exist_ok=True)
                files.write(self._start, files.State(files.FILE, b"%.1f\n" % seconds, 0o600))
            except OSError as error:
                raise files.FileProblem("%s: cannot be written: %s" % (self._start, error.strerror)) from None

    def start_seconds(self):
        """How long the last start took (float), 0.0 when that is not known."""
        try:
            with open(self._start, encoding="ascii") as handle:
                return float(handle.read())
        except (OSError, ValueError):
            return 0.0

    def forget(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)


def _plain(state):
    content = None if state.content is None else base64.b64encode(state.content).decode("ascii")
    return {"kind": state.kind, "content": content, "mode": state.mode, "uid": state.uid, "gid": state.gid}


def _state(entry):
    content = None if entry["content"] is None else base64.b64decode(entry["content"])
    in_place = entry.get("live", False)  # notes of earlier versions do not say
    return files.State(entry["kind"], content, entry["mode"], entry["uid"], entry["gid"], in_place=in_place)
