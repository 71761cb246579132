# Copyright (c) 2026 hardened.vllm maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a node as states that can be read, written atomically and put back."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import pwd
import secrets
import stat
import time
from dataclasses import dataclass, field, replace

ABSENT = "absent"
FILE = "file"
LINK = "link"
DIRECTORY = "directory"

# What is replaced is kept in memory until the transaction ends.
LARGEST_KEPT = 32 * 1024 * 1024
# Stands for a user or group that does not exist so far (check mode on a clean host).
NOT_YET = -1
TEMPORARY = ".hardened-vllm-"


class FileProblem(Exception):
    """Something on the node stands in the way. The text is for the user."""


@dataclass(frozen=True)
class State:
    """What is at a path. ``content`` is bytes of a file or the target of a link, None otherwise.

    ``in_place``: a file that is there is written over, for readers that watch it and would lose sight of it by a rename.
    """

    kind: str
    content: bytes | None = None
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    in_place: bool = field(default=False, compare=False)

    def describe(self):
        """Return kind, mode and owner as lines for a diff."""
        if self.kind == ABSENT:
            return "state: absent\n"
        if self.kind == LINK:
            return "state: symbolic link to %s\n" % os.fsdecode(self.content or b"")
        owner, group = _name_of(pwd.getpwuid, self.uid), _name_of(grp.getgrgid, self.gid)
        return "state: %s\nmode: %04o\nowner: %s\ngroup: %s\n" % (self.kind, self.mode, owner, group)


def _name_of(lookup, number):
    if number == NOT_YET:
        return "not on this host yet"
    try:
        return lookup(number)[0]
    except KeyError:
        return str(number)


def read_state(path):
    """Return the State of ``path``; FileProblem for devices, sockets, FIFOs and files too large to keep."""
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return State(ABSENT)
    except NotADirectoryError:
        raise FileProblem("%s: a part of this path is a file, not a directory" % path) from None
    except OSError as error:
        raise FileProblem("%s: cannot be looked at: %s" % (path, error.strerror)) from None
    mode = stat.S_IMODE(info.st_mode)
    if stat.S_ISLNK(info.st_mode):
        return State(LINK, os.fsencode(os.readlink(path)), mode, info.st_uid, info.st_gid)
    if stat.S_ISDIR(info.st_mode):
        return State(DIRECTORY, None, mode, info.st_uid, info.st_gid)
    if not stat.S_ISREG(info.st_mode):
        raise FileProblem("%s: is neither a file nor a directory (a device, socket or FIFO); remove it first" % path)
    if info.st_size > LARGEST_KEPT:
        raise FileProblem(
            "%s: the file there has %d bytes, more than the %d this module can put back; move it away first"
            % (path, info.st_size, LARGEST_KEPT)
        )
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as handle:
        content = handle.read()
    return State(FILE, content, mode, info.st_uid, info.st_gid, info.st_mtime_ns)


def uid_of(owner):
    """Numeric id of a user given by name or number. FileProblem when there is no such user."""
    if owner.isdigit():
        return int(owner)
    try:
        return pwd.getpwnam(owner).pw_uid
    except KeyError:
        raise FileProblem("user %s does not exist on this host; create it first" % owner) from None


def gid_of(group):
    """Numeric id of a group given by name or number. FileProblem when there is no such group."""
    if group.isdigit():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise FileProblem("group %s does not exist on this host; create it first" % group) from None


def write(path, state):
    """Put ``state`` (a file or a link) at ``path`` in one rename: a reader sees the old one or the new one."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, "%s%s.%s" % (TEMPORARY, name, secrets.token_hex(8)))
    try:
        if state.kind == LINK:
            os.symlink(state.content, os.fsencode(temporary))
            os.chown(temporary, state.uid, state.gid, follow_symlinks=False)
        else:
            _write_temporary(temporary, state)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_directory(folder)


def _write_temporary(temporary, state):
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(state.content)
        handle.flush()
        os.fchown(descriptor, state.uid, state.gid)
        os.fchmod(descriptor, state.mode)
        if state.mtime_ns:
            os.utime(descriptor, ns=(state.mtime_ns, state.mtime_ns))
        os.fsync(descriptor)


def _sync_directory(folder):
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _set_metadata(path, state):
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fchown(descriptor, state.uid, state.gid)
        os.fchmod(descriptor, state.mode)
    finally:
        os.close(descriptor)


def remove_leftovers(path):
    """Delete temporary files that a killed run left beside ``path``."""
    folder, name = os.path.split(path)
    prefix = "%s%s." % (TEMPORARY, name)
    with contextlib.suppress(FileNotFoundError):
        for entry in os.listdir(folder):
            if entry.startswith(prefix) and len(entry) == len(prefix) + 16:
                os.unlink(os.path.join(folder, entry))


def become(path, wanted):
    """Change ``path`` from whatever it is to ``wanted``; FileProblem where a directory's contents would be lost."""
    try:
        _become(path, read_state(path), wanted)
    except OSError as error:
        raise FileProblem("%s: %s" % (path, _reason(error, path))) from None


def _become(path, now, wanted):
    if wanted.kind == ABSENT:
        if now.kind == DIRECTORY:
            os.rmdir(path)
        elif now.kind != ABSENT:
            os.unlink(path)
        return
    if wanted.kind == DIRECTORY:
        if now.kind == ABSENT:
            os.mkdir(path, 0o700)
        _set_metadata(path, wanted)
        return
    if now.kind == FILE and wanted.kind == FILE and now.content == wanted.content:
        _set_metadata(path, wanted)
        return
    if now.kind == FILE and wanted.kind == FILE and wanted.in_place:
        _write_over(path, wanted)
        return
    write(path, wanted)


def _write_over(path, state):
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "wb") as handle:
        os.fchown(descriptor, state.uid, state.gid)
        os.fchmod(descriptor, state.mode)
        handle.write(state.content)
        handle.truncate()
        handle.flush()
        os.fsync(descriptor)


def _reason(error, path):
    if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
        entries = sorted(os.listdir(path))
        more = ", ..." if len(entries) > 5 else ""
        return "the directory is not empty (%s%s), it is left alone" % (", ".join(entries[:5]), more)
    if error.errno == errno.ENOSPC:
        return "no space left on the device that holds it"
    if error.errno == errno.EROFS:
        return "the filesystem is read-only"
    return error.strerror or str(error)


class Transaction:
    """Changes that can be put back, last one first."""

    def __init__(self):
        self._undo = []

    def change(self, path, wanted):
        """Make ``path`` what is wanted and remember what it was."""
        before = replace(read_state(path), in_place=wanted.in_place)
        self._undo.append((path, before))
        become(path, wanted)

    def put_back(self):
        """Restore everything. Returns the problems met (list of str); it goes on after each."""
        problems = []
        while self._undo:
            path, before = self._undo.pop()
            try:
                become(path, before)
            except FileProblem as problem:
                problems.append(str(problem))
        return problems


@contextlib.contextmanager
def exclusive(folder="/run", seconds=60, name=None):
    """Hold the host's lock for batches of files; FileProblem when another run keeps it for ``seconds``.

    A folder that hosts share needs a file of that ``name`` in it for the lock, since NFS locks no directories between them.
    """
    if name is None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    else:
        descriptor = os.open(os.path.join(folder, name), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise FileProblem(
                        "another run has been changing files of this host for %d seconds; wait for it to end" % seconds
                    ) from None
                time.sleep(0.2)
        yield
    finally:
        os.close(descriptor)
