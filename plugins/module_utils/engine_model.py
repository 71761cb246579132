# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Has a revision of a model in a directory of its own: fetched beside its place, checked, moved there when it is complete."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass, field

from ansible_collections.hardened.vllm.plugins.module_utils import (
    commands,
    engine_confined,
    engine_hub,
    engine_hub_files,
    files,
    placement,
)

# The names of fetched files begin otherwise.
MANIFEST = ".manifest.json"
# Stays beside the revisions: nodes that share a filesystem find each other by it.
LOCK = ".lock"
# Up to this size a file is read again each time; larger ones, which are weights, only when asked.
SMALL = 64 << 20
PAUSE_SECONDS = 1
PACKAGE = "ansible_collections.hardened.vllm.plugins.module_utils"
LAUNCH = "import sys; sys.path.insert(0, sys.argv.pop(1)); from %s.engine_hub import main; main()" % PACKAGE
# It only talks to the hub and writes below one directory.
SANDBOX = (
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateDevices=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectControlGroups=yes",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    "RestrictNamespaces=yes",
    "LockPersonality=yes",
    "CapabilityBoundingSet=",
    "SystemCallFilter=@system-service",
)


class ModelError(Exception):
    """A model cannot be fetched or is not what it should be. The text is for the user."""


@dataclass(frozen=True)
class Wanted:
    """``revision`` of ``repository`` at ``endpoint``, whose redirects may lead to ``hosts`` too, in ``path``.

    ``digest`` is what the whole has to have (see digest_of), None when the hub is believed. ``destinations`` are the blocks that may be called;
    when they are None, the addresses of ``endpoint`` and ``hosts`` are. ``timeout`` bounds the whole, ``stall`` the time without a byte, both in seconds.
    """

    repository: str
    revision: str
    path: str
    endpoint: str
    python: str
    hosts: list = field(default_factory=list)
    token: str | None = None
    digest: str | None = None
    destinations: list | None = None
    bytes_spare: int = 0
    timeout: float = 21600.0
    stall: float = 60.0

    @property
    def folder(self):
        return os.path.dirname(self.path)

    @property
    def partial(self):
        return os.path.join(self.folder, ".%s.partial" % os.path.basename(self.path))


def digest_of(manifest_files):
    """Return the SHA-256 of the lines sha256sum(1) would print for the files, sorted by name."""
    lines = ["%s  %s\n" % (file["sha256"], name) for name, file in sorted(manifest_files.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def why_fetch(wanted, thorough=False):
    """Return the reason to fetch (str), or None when what is in place is what was fetched.

    Names, sizes, owners and modes are compared, and the content of small files and of those whose time is another; that of all when
    ``thorough``. Files that the revision does not have are no reason.
    """
    if not os.path.isdir(wanted.path):
        return "%s does not exist" % wanted.path
    try:
        recorded = _recorded(wanted.path)
        if wanted.digest not in (None, digest_of(recorded)):
            return "%s has the digest %s, declared is %s" % (wanted.path, digest_of(recorded), wanted.digest)
        there = set(_below(wanted.path))
        differing = sorted(name for name in recorded if name not in there or _differs(wanted, name, recorded, thorough))
    except (OSError, ValueError, LookupError, TypeError) as error:
        return "%s has no readable manifest (%s)" % (wanted.path, error)
    if differing:
        return "files in %s changed after they were fetched: %s" % (wanted.path, ", ".join(differing[:10]))
    return None


def _recorded(path):
    """Return what the manifest says of the files in ``path``. Raises what reading JSON raises."""
    with open(os.path.join(path, MANIFEST), encoding="utf-8") as handle:
        return json.load(handle)["files"]


def _below(path):
    for folder, folders, names in os.walk(path):
        yield from (os.path.relpath(os.path.join(folder, name), path) for name in names)
        yield from (
            os.path.relpath(os.path.join(folder, name), path)
            for name in folders
            if os.path.islink(os.path.join(folder, name))
        )


def _differs(wanted, name, recorded, thorough):
    path, promised = os.path.join(wanted.path, name), recorded[name]
    info = os.lstat(path)
    if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o222:
        return True
    if info.st_size != promised["bytes"]:
        return True
    # Another time is no other content: a restored backup has it, and a filesystem that rounds.
    read = thorough or info.st_size <= SMALL or info.st_mtime_ns != promised["mtime_ns"]
    return read and engine_hub_files.digests(path, info.st_size)["sha256"] != promised["sha256"]


def strangers(path):
    """Return the files in ``path`` that the revision there does not have (sorted); None where no manifest says what it has."""
    try:
        return sorted(set(_below(path)) - {MANIFEST} - set(_recorded(path)))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _keep_what_is_not_ours(wanted):
    """Raise ModelError when a fetch would remove what somebody else put into the directory, or lead out of it."""
    if os.path.islink(wanted.path):
        raise ModelError(
            "%s is a symbolic link; expected a directory. Mount the larger filesystem there instead. Nothing was changed."
            % wanted.path
        )
    found = strangers(wanted.path) if os.path.isdir(wanted.path) and os.listdir(wanted.path) else []
    if found is None:
        raise ModelError(
            "%s has to be fetched, and is there without a manifest of ours, so that nobody knows what would be lost. Move it elsewhere. "
            "Nothing was changed." % wanted.path
        )
    if found:
        raise ModelError(
            "%s has to be fetched again, which would remove %s; the revision does not have them. Move them elsewhere. Nothing was changed."
            % (wanted.path, ", ".join(found[:10]))
        )


def look(wanted):
    """Return what the hub has of the revision, ``{name: {"bytes"}}``; fetches and writes nothing but a list. Raises ModelError."""
    _keep_what_is_not_ours(wanted)
    with _told(wanted), tempfile.TemporaryDirectory(prefix="hardened-vllm-") as scratch:
        return _hub(wanted, scratch, True)


def fetch(wanted, thorough=False):
    """Fetch, check and move into place; returns the files, ``{name: {"bytes", "sha256"}}``.

    None when another run that was waited for has put them in place. Whatever goes wrong, ``wanted.path`` stays as it was; what came is kept
    for the next run. Raises ModelError.
    """
    _keep_what_is_not_ours(wanted)
    with _told(wanted):
        os.makedirs(wanted.folder, mode=0o755, exist_ok=True)
        with _alone(wanted):
            if why_fetch(wanted, thorough) is None:
                return None
            os.makedirs(wanted.partial, mode=0o700, exist_ok=True)
            scratch = os.path.join(wanted.partial, ".scratch")
            shutil.rmtree(scratch, ignore_errors=True)
            os.mkdir(scratch, 0o700)
            try:
                _reuse(wanted)
                found = _hub(wanted, scratch, False)
            finally:
                # It holds the token.
                shutil.rmtree(scratch)
            _finish(wanted, found)
            return found


@contextlib.contextmanager
def _told(wanted):
    what = "fetching %s at %s" % (wanted.repository, wanted.revision)
    try:
        yield
    except commands.CommandError as error:
        raise ModelError("%s failed: %s\nWhat came is kept; another run goes on there." % (what, error)) from None
    except OSError as error:
        raise ModelError("%s failed: %s: %s" % (what, error.filename or wanted.folder, error.strerror)) from None


@contextlib.contextmanager
def _alone(wanted):
    try:
        with files.exclusive(wanted.folder, wanted.timeout, LOCK):
            yield
    except files.FileProblem:
        raise ModelError(
            "another run has been fetching into %s for %d s, on this node or on one that shares it; %d bytes of this revision have come so far."
            " Wait for it to end and run again. Nothing was changed." % (wanted.folder, wanted.timeout, _come(wanted))
        ) from None


def _come(wanted):
    """Return the bytes of an unfinished fetch."""
    total = 0
    for name in _below(wanted.partial):
        with contextlib.suppress(FileNotFoundError):
            total += os.lstat(os.path.join(wanted.partial, name)).st_size
    return total


def _reuse(wanted):
    """Link sound files of a damaged directory, so that only the others are fetched again; each is read before it counts."""
    for name in _below(wanted.path):
        path, link = os.path.join(wanted.path, name), os.path.join(wanted.partial, name)
        info = os.lstat(path)
        if (
            stat.S_ISREG(info.st_mode)
            and info.st_uid == os.geteuid()
            and not info.st_mode & 0o222
            and not os.path.lexists(link)
        ):
            os.makedirs(os.path.dirname(link), mode=0o755, exist_ok=True)
            os.link(path, link)


def _hub(wanted, scratch, only_look):
    """Run engine_hub as a program of its own and return its files."""
    home = os.path.join(scratch, *PACKAGE.split("."))
    os.makedirs(home)
    for module in (engine_hub, engine_hub_files):
        with open(os.path.join(home, module.__name__.rpartition(".")[2] + ".py"), "w", encoding="utf-8") as handle:
            handle.write(module.__loader__.get_source(module.__name__))
    job = os.path.join(scratch, "job.json")
    with open(os.open(job, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as handle:
        json.dump(
            {
                "repository": wanted.repository,
                "revision": wanted.revision,
                "endpoint": wanted.endpoint,
                "hosts": wanted.hosts,
                "token": wanted.token,
                "place": wanted.partial,
                "look": only_look,
                "bytes_spare": wanted.bytes_spare,
                "stall_seconds": wanted.stall,
                "pause_seconds": PAUSE_SECONDS,
            },
            handle,
        )
    argv = [wanted.python, "-I", "-c", LAUNCH, scratch, job]
    sandbox = SANDBOX if only_look else (*SANDBOX, "ReadWritePaths=%s" % wanted.partial)
    hosts = [engine_confined.host_of(wanted.endpoint), *wanted.hosts]
    said = engine_confined.run(argv, wanted.destinations, wanted.timeout, scratch, "model", sandbox, hosts)
    answer = json.loads(said)
    if "problem" in answer:
        raise ModelError("%s at %s: %s" % (wanted.repository, wanted.revision, answer["problem"]))
    return answer["files"]


def _finish(wanted, found):
    if wanted.digest not in (None, digest_of(found)):
        raise ModelError(
            "%s at %s has the digest %s, declared is %s (model.source.digest). What serves was left as it is: find out which of them is right."
            % (wanted.repository, wanted.revision, digest_of(found), wanted.digest)
        )
    recorded = {}
    for name in _below(wanted.partial):
        path = os.path.join(wanted.partial, name)
        if name not in found or os.path.islink(path):
            # Of an earlier run, or another list.
            os.unlink(path)
            continue
        os.chmod(path, 0o444)
        recorded[name] = {**found[name], "mtime_ns": os.stat(path).st_mtime_ns}
    manifest = {
        "format": 1,
        "repository": wanted.repository,
        "revision": wanted.revision,
        "endpoint": wanted.endpoint,
        "files": recorded,
    }
    for folder, _folders, _names in os.walk(wanted.partial):
        os.chmod(folder, 0o755)  # noqa: S103 the service reads it
    placement.place(wanted.partial, wanted.path, MANIFEST, manifest)
