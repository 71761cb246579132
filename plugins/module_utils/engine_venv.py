# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds a virtual environment beside its final place and moves it there when it is complete."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import dataclass, field

from ansible_collections.hardened.vllm.plugins.module_utils import (
    commands,
    engine_bundle,
    engine_pip,
    engine_python,
    engine_relocation,
    files,
    placement,
)

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Wanted:
    """A release to install: ``package`` ``version`` into ``root``/``version``, made with ``base_python``.

    ``requirements`` are further lines of a requirements file; one ``--hash`` in them makes hashes compulsory.
    ``archive`` holds wheels (engine_bundle) and is the only source then.
    ``bytes_needed`` is the free space asked for before anything is written, ``timeout`` in seconds bounds pip.
    ``destinations`` and ``index_hosts`` are whom pip may call (engine_pip.Source).
    """

    package: str
    version: str
    root: str
    base_python: str
    user: str
    index_url: str | None = None
    find_links: str | None = None
    archive: str | None = None
    requirements: list = field(default_factory=list)
    bytes_needed: int = 0
    timeout: float = 3600.0
    destinations: list | None = None
    index_hosts: list = field(default_factory=list)

    @property
    def path(self):
        return os.path.join(self.root, self.version)

    @property
    def partial(self):
        return os.path.join(self.root, ".%s.partial" % self.version)

    @property
    def python(self):
        return os.path.join(self.path, "bin", "python")


def why_build(wanted):
    """Return the reason to build the environment (str), or None when what is in place is what was installed."""
    if not os.path.isdir(wanted.path):
        return "%s does not exist" % wanted.path
    try:
        with open(os.path.join(wanted.path, MANIFEST), encoding="utf-8") as handle:
            recorded = json.load(handle)["packages"]
        contents = engine_python.ask(wanted.python, wanted.user, hashes=True)
        engine_python.expect_release(wanted.python, contents, wanted.version)
    except (OSError, ValueError, LookupError, TypeError) as error:
        return "%s has no readable manifest (%s)" % (wanted.path, error)
    except engine_python.PythonError as problem:
        return str(problem)
    differing = sorted(
        name for name in {*recorded, *contents.packages} if recorded.get(name) != contents.packages.get(name)
    )
    if differing:
        return "packages in %s changed after the installation: %s" % (wanted.path, ", ".join(differing[:10]))
    return None


def installed(root):
    """Return the releases below ``root`` whose installation was completed, sorted list of str."""
    try:
        names = os.listdir(root)
    except OSError:
        return []
    return sorted(
        name for name in names if not name.startswith(".") and os.path.isfile(os.path.join(root, name, MANIFEST))
    )


def check_space(wanted):
    """Raise InstallError when the filesystem that will hold the environment has less free than asked for."""
    what = "%s %s" % (wanted.package, wanted.version)
    remedy = "Free some space there, enlarge it, or declare another install root."
    problem = lacks_space(wanted.root, wanted.bytes_needed, what, remedy)
    if problem:
        raise engine_pip.InstallError(problem)


def lacks_space(place, needed, what, remedy):
    """Return why ``what`` does not fit below ``place`` (str), or None when ``needed`` bytes are free on its filesystem."""
    while not os.path.exists(place):
        place = os.path.dirname(place)
    free = shutil.disk_usage(place).free
    if free >= needed:
        return None
    return "too little free space for %s: it needs %s, the filesystem of %s has %s. %s" % (
        what,
        _size(needed),
        place,
        _size(free),
        remedy,
    )


def _size(number):
    return "%.1f GB (%d bytes)" % (number / 1e9, number)


def build(wanted):
    """Build, verify and move into place. Returns {"python": its version, "packages": count, "bytes": size}.

    Whatever goes wrong, ``wanted.path`` stays as it was and nothing partial remains. Raises InstallError.
    """
    check_space(wanted)
    os.makedirs(wanted.root, mode=0o755, exist_ok=True)
    try:
        with files.exclusive(wanted.root, seconds=5), _removed(wanted.partial):
            return _build(wanted)
    except files.FileProblem:
        raise engine_pip.InstallError("another run is installing into %s; wait for it to end" % wanted.root) from None
    except OSError as error:
        raise engine_pip.InstallError("%s: %s" % (error.filename or wanted.root, error.strerror)) from None


@contextlib.contextmanager
def _removed(path):
    """Nothing is at ``path``, neither before nor after: a killed run may have left its part there."""
    shutil.rmtree(path, ignore_errors=True)
    try:
        yield
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _build(wanted):
    engine_pip.make_environment(wanted.base_python, wanted.partial, wanted.version)
    _install(wanted)
    python = os.path.join(wanted.partial, "bin", "python")
    engine_relocation.relocate(wanted.partial, wanted.path)
    compiling = [python, "-m", "compileall", "-q", "-f", "-s", wanted.partial, "-p", wanted.path, wanted.partial]
    with _told(wanted):
        commands.run(compiling, wanted.timeout)
    try:
        contents = engine_python.ask(python, wanted.user, hashes=True)
        engine_python.expect_release(python, contents, wanted.version)
    except engine_python.PythonError as problem:
        raise engine_pip.InstallError("installed, but not usable: %s" % problem) from None
    size = placement.disk_size(wanted.partial)
    manifest = {
        "format": 1,
        "package": wanted.package,
        "version": wanted.version,
        "python": contents.python,
        "bytes": size,
        "packages": contents.packages,
    }
    placement.place(wanted.partial, wanted.path, MANIFEST, manifest)
    return {"python": contents.python, "packages": len(contents.packages), "bytes": size}


def _install(wanted):
    scratch = os.path.join(wanted.partial, ".scratch")
    os.mkdir(scratch, 0o700)
    source = engine_pip.Source(wanted.index_url, wanted.find_links, wanted.destinations, wanted.index_hosts)
    if wanted.archive:
        source = engine_pip.Source(find_links=os.path.join(scratch, "wheels"))
        engine_bundle.unpack(wanted.archive, source.find_links, wanted.base_python)
    lines = engine_pip.requirement_lines(wanted.package, wanted.version, wanted.requirements)
    python = os.path.join(wanted.partial, "bin", "python")
    with _told(wanted):
        engine_pip.pip(python, ["install", "--no-compile"], lines, source, scratch, wanted.timeout)
    shutil.rmtree(scratch)


@contextlib.contextmanager
def _told(wanted):
    try:
        yield
    except commands.CommandError as error:
        what = "installing %s %s" % (wanted.package, wanted.version)
        raise engine_pip.failure(what, wanted.root, error) from None
