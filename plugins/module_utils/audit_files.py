# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files an audit looks at: who owns and who may read them, when they changed; content only as a digest."""

from __future__ import annotations

import grp
import hashlib
import os
import stat
from typing import Any, Dict, Iterable, List, Optional

from ansible_collections.hardened.vllm.plugins.module_utils import audit_processes
from ansible_collections.hardened.vllm.plugins.module_utils.probe_common import Unknown, read_text, under

ENTRIES = 3000
WALKED = 400000
DIGEST_BYTES = 4 << 20
_KINDS = (
    (stat.S_ISREG, "file"),
    (stat.S_ISDIR, "directory"),
    (stat.S_ISLNK, "link"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISFIFO, "fifo"),
)


def _group_name(gid: int) -> Optional[str]:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return None


def look(root: str, path: str, asked: str, digest: bool) -> Dict[str, Any]:
    """Return one file as evidence; raises OSError when it cannot be looked at."""
    place = under(root, path)
    state = os.lstat(place)
    kind = next((name for test, name in _KINDS if test(state.st_mode)), "device")
    return {
        "path": path,
        "asked": asked,
        "kind": kind,
        "mode": "%04o" % stat.S_IMODE(state.st_mode),
        "uid": state.st_uid,
        "gid": state.st_gid,
        "owner": audit_processes.user_name(state.st_uid),
        "group": _group_name(state.st_gid),
        "size": state.st_size,
        "modified": audit_processes.moment(state.st_mtime),
        "changed": audit_processes.moment(state.st_ctime),
        "target": os.readlink(place) if kind == "link" else None,
        "sha256": _digest(place) if digest and kind == "file" and state.st_size <= DIGEST_BYTES else None,
    }


def _digest(place: str) -> Optional[str]:
    # Reading would move the time of last access, which the owner alone may forbid.
    # Nor does a FIFO put there meanwhile hold this up.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | getattr(os, "O_NOATIME", 0)
    try:
        number = os.open(place, flags)
    except PermissionError:
        return None
    with os.fdopen(number, "rb") as handle:
        return hashlib.sha256(handle.read(DIGEST_BYTES + 1)).hexdigest()


def listed(root: str, paths: Iterable[str], unknown: List[Dict[str, str]], digest: bool = True) -> List[Dict[str, Any]]:
    """Return every file at and below ``paths``; a path that does not exist gives nothing."""
    return _walk(root, paths, unknown, digest, _any)


def _any(_state: os.stat_result) -> bool:
    return True


def remarkable(root: str, paths: Iterable[str], unknown: List[Dict[str, str]]) -> List[Dict[str, Any]]:
    """Return each path itself, and below it what somebody besides root may write: large trees stay small."""
    return _walk(root, paths, unknown, False, _writable)


def _writable(state: os.stat_result) -> bool:
    if stat.S_ISLNK(state.st_mode):
        return False
    return (
        state.st_uid != 0
        or bool(state.st_mode & stat.S_IWOTH)
        or (bool(state.st_mode & stat.S_IWGRP) and state.st_gid != 0)
    )


def _walk(
    root: str, paths: Iterable[str], unknown: List[Dict[str, str]], digest: bool, wanted: Any
) -> List[Dict[str, Any]]:
    found: List[Dict[str, Any]] = []
    for asked in dict.fromkeys(paths):
        count = walked = 0
        pending = [asked]
        while pending:
            path = pending.pop()
            walked += 1
            try:
                state = os.lstat(under(root, path))
                if path == asked or wanted(state):
                    count += 1
                    found.append(look(root, path, asked, digest))
                if stat.S_ISDIR(state.st_mode):
                    pending += [
                        "%s/%s" % (path.rstrip("/"), name)
                        for name in sorted(os.listdir(under(root, path)), reverse=True)
                    ]
            except FileNotFoundError:  # not there, or gone meanwhile
                continue
            except OSError as error:
                unknown.append({"fact": "files:%s" % path, "reason": error.strerror or str(error)})
            if count >= ENTRIES or walked >= WALKED:
                unknown.append(
                    {"fact": "files:%s" % asked, "reason": "only the first %d files below it were told" % count}
                )
                break
    return found


def accounts(root: str, unknown: List[Dict[str, str]]) -> List[Dict[str, Any]]:
    """Return the accounts of /etc/passwd; Unknown when that file is unreadable."""
    groups: Dict[str, List[str]] = {}
    numbers: Dict[int, str] = {}
    for line in read_text(under(root, "/etc/group")).splitlines():
        fields = line.split(":")
        if len(fields) == 4:
            numbers[int(fields[2])] = fields[0]
            for name in fields[3].split(","):
                groups.setdefault(name, []).append(fields[0])
    passwords = _passwords(root, unknown)
    found = []
    for line in read_text(under(root, "/etc/passwd")).splitlines():
        fields = line.split(":")
        if len(fields) != 7:
            continue
        name, gid = fields[0], int(fields[3])
        member = groups.get(name, []) + ([numbers[gid]] if gid in numbers else [])
        found.append(
            {
                "name": name,
                "uid": int(fields[2]),
                "gid": gid,
                "home": fields[5],
                "shell": fields[6],
                "groups": sorted(set(member)),
                "password": passwords.get(name) if passwords is not None else None,
            }
        )
    return found


def _passwords(root: str, unknown: List[Dict[str, str]]) -> Optional[Dict[str, str]]:
    try:
        lines = read_text(under(root, "/etc/shadow")).splitlines()
    except Unknown as error:
        unknown.append({"fact": "users:password", "reason": str(error)})
        return None
    found = {}
    for line in lines:
        name, _colon, rest = line.partition(":")
        word = rest.split(":", 1)[0]
        found[name] = "empty" if not word else ("locked" if word[0] in "!*" else "set")
    return found
