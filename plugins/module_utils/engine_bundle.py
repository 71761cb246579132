# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles: all wheels of a release in one archive, with a manifest and a lock, for nodes that reach no index."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
from dataclasses import dataclass, field

from ansible_collections.hardened.vllm.plugins.module_utils import commands, engine_pip

FORMAT = 1
ARCHIVE = "wheels.tar"
LOCK = "requirements.lock"
MANIFEST = "manifest.json"
_WHEEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._]*-[A-Za-z0-9][A-Za-z0-9._+!]*(-[A-Za-z0-9._]+){3,4}\.whl")
_CHUNK = 1 << 20
_ABOUT_PYTHON = "import platform, sys; print('%d.%d' % sys.version_info[:2], platform.machine())"


@dataclass(frozen=True)
class Order:
    """What to bundle, for nodes whose ``base_python`` is as the one here. ``timeout`` in seconds bounds pip."""

    package: str
    version: str
    base_python: str
    source: engine_pip.Source
    requirements: list = field(default_factory=list)
    timeout: float = 3600.0


def make(order, directory):
    """Write archive, lock and manifest of ``order`` into ``directory``, which is made; return the manifest.

    The manifest: {"format", "package", "version", "python": "3.11", "machine": "x86_64", "bytes": of all wheels,
    "wheels": [{"name", "bytes", "sha256"}]}. Raises InstallError; ``directory`` is then removed again.
    """
    scratch = os.path.join(directory, ".scratch")
    try:
        os.makedirs(directory, mode=0o755)
    except OSError as error:
        raise engine_pip.InstallError("cannot make %s: %s" % (directory, error.strerror)) from None
    try:
        os.mkdir(scratch, 0o700)
        manifest = _make(order, directory, scratch)
        shutil.rmtree(scratch)
    except BaseException as error:
        shutil.rmtree(directory, ignore_errors=True)
        if isinstance(error, OSError):
            raise engine_pip.InstallError("%s: %s" % (error.filename or directory, error.strerror)) from None
        raise
    return manifest


def _make(order, directory, scratch):
    environment, wheels = os.path.join(scratch, "environment"), os.path.join(scratch, "wheels")
    engine_pip.make_environment(order.base_python, environment, order.version)
    lines = engine_pip.requirement_lines(order.package, order.version, order.requirements)
    python = os.path.join(environment, "bin", "python")
    try:
        engine_pip.pip(python, ["download", "--dest", wheels], lines, order.source, scratch, order.timeout)
    except commands.CommandError as error:
        raise engine_pip.failure("fetching %s %s" % (order.package, order.version), directory, error) from None
    entries = [_entry(os.path.join(wheels, name)) for name in sorted(os.listdir(wheels))]
    version, machine = _about(order.base_python)
    manifest = {
        "format": FORMAT,
        "package": order.package,
        "version": order.version,
        "python": version,
        "machine": machine,
        "bytes": sum(entry["bytes"] for entry in entries),
        "wheels": entries,
    }
    text = json.dumps(manifest, indent=1) + "\n"
    _write(os.path.join(directory, MANIFEST), text)
    _write(os.path.join(directory, LOCK), "".join(_pin(entry) + "\n" for entry in entries))
    with tarfile.open(os.path.join(directory, ARCHIVE), "w") as archive:
        about = tarfile.TarInfo(MANIFEST)
        about.size = len(text.encode("utf-8"))
        archive.addfile(about, io.BytesIO(text.encode("utf-8")))
        for entry in entries:
            archive.add(os.path.join(wheels, entry["name"]), entry["name"], filter=_anonymous)
    return manifest


def _write(path, text):
    with open(path, "w", encoding="utf-8") as handle:
        handle.write(text)


def _anonymous(member):
    """Keep owner and time of this machine out of the archive, so that the same wheels give the same bytes."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime, member.mode = 0, 0o644
    return member


def _entry(path):
    name = os.path.basename(path)
    if not _WHEEL.fullmatch(name):
        raise engine_pip.InstallError("pip fetched %s, which is no wheel by its name; expected wheels only" % name)
    with open(path, "rb") as handle:
        return {"name": name, "bytes": os.path.getsize(path), "sha256": _digest(handle)}


def _pin(entry):
    name, version = entry["name"].split("-")[:2]
    return "%s==%s --hash=sha256:%s" % (engine_pip.normalised(name), version, entry["sha256"])


def _digest(handle, copy=None):
    digest = hashlib.sha256()
    for chunk in iter(lambda: handle.read(_CHUNK), b""):
        digest.update(chunk)
        if copy is not None:
            copy.write(chunk)
    return digest.hexdigest()


def _about(python):
    try:
        version, machine = commands.run([python, "-I", "-c", _ABOUT_PYTHON], 60).split()
    except (commands.CommandError, ValueError) as error:
        raise engine_pip.InstallError("cannot ask %s for its version: %s" % (python, error)) from None
    return version, machine


def unpack(archive, folder, base_python):
    """Unpack the wheels of ``archive`` into ``folder``, which is made. Raises InstallError.

    Only what the archive's manifest lists is written, and only with its digest; a bundle for another Python is refused.
    """
    try:
        with tarfile.open(archive, "r:") as bundle:
            manifest = _manifest(archive, bundle)
            _expect_python(archive, manifest, base_python)
            os.makedirs(folder, mode=0o700)
            for entry in manifest["wheels"]:
                _extract(archive, bundle, entry, folder)
    except tarfile.TarError as error:
        raise engine_pip.InstallError("%s is damaged: %s; bring it to the node again" % (archive, error)) from None
    except OSError as error:
        where = error.filename or folder
        raise engine_pip.InstallError("unpacking %s: %s: %s" % (archive, where, error.strerror)) from None


def _manifest(archive, bundle):
    first = bundle.next()
    content = bundle.extractfile(first) if first is not None and first.name == MANIFEST else None
    try:
        manifest = json.loads(content.read().decode("utf-8")) if content is not None else {}
        known = manifest.get("format") == FORMAT
        if known and all(_WHEEL.fullmatch(entry["name"]) and entry["sha256"] for entry in manifest["wheels"]):
            return manifest
    except (ValueError, LookupError, TypeError, AttributeError):
        pass
    raise engine_pip.InstallError(
        "%s is no bundle of this collection: it does not begin with a manifest of format %d;"
        " make it with the playbook bundle" % (archive, FORMAT)
    )


def _expect_python(archive, manifest, base_python):
    version, machine = _about(base_python)
    if (version, machine) != (manifest["python"], manifest["machine"]):
        raise engine_pip.InstallError(
            "%s was made for Python %s on %s, but %s here is Python %s on %s;"
            " make the bundle on a machine like this one, or declare another base_python"
            % (archive, manifest["python"], manifest["machine"], base_python, version, machine)
        )


def _extract(archive, bundle, entry, folder):
    try:
        member = bundle.getmember(entry["name"])
    except KeyError:
        member = None
    content = bundle.extractfile(member) if member is not None and member.isreg() else None
    if content is None:
        raise engine_pip.InstallError("%s lacks %s, which its manifest lists" % (archive, entry["name"]))
    with open(os.path.join(folder, entry["name"]), "xb") as handle:
        found = _digest(content, handle)
    if found != entry["sha256"]:
        raise engine_pip.InstallError(
            "%s in %s has the SHA-256 %s, its manifest says %s; bring the bundle to the node again"
            % (entry["name"], archive, found, entry["sha256"])
        )
