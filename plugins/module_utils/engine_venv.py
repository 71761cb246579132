# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds a virtual environment beside its final place and moves it there when it is complete."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from dataclasses import dataclass, field

from ansible_collections.hardened.vllm.plugins.module_utils import (
    commands,
    engine_confined,
    engine_python,
    engine_relocation,
    files,
)

MANIFEST = "manifest.json"
_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+@")
_PACKAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NO_SPACE = "No space left on device"
_NEARLY_FULL = 1 << 20


class VenvError(Exception):
    """The environment cannot be built. The text is for the user."""


@dataclass(frozen=True)
class Wanted:
    """A release to install: ``package`` ``version`` into ``root``/``version``, made with ``base_python``.

    ``requirements`` are further lines of a requirements file; one ``--hash`` in them makes hashes compulsory.
    ``bytes_needed`` is the free space asked for before anything is written, ``timeout`` in seconds bounds pip.
    ``destinations`` are the blocks pip may call; None does not hold it back.
    """

    package: str
    version: str
    root: str
    base_python: str
    user: str
    index_url: str | None = None
    find_links: str | None = None
    requirements: list = field(default_factory=list)
    bytes_needed: int = 0
    timeout: float = 3600.0
    destinations: list | None = None

    @property
    def path(self):
        return os.path.join(self.root, self.version)

    @property
    def partial(self):
        return os.path.join(self.root, ".%s.partial" % self.version)

    @property
    def former(self):
        return os.path.join(self.root, ".%s.former" % self.version)

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
    """Raise VenvError when the filesystem that will hold the environment has less free than asked for."""
    place = wanted.root
    while not os.path.exists(place):
        place = os.path.dirname(place)
    free = shutil.disk_usage(place).free
    if free < wanted.bytes_needed:
        raise VenvError(
            "too little free space for %s %s: it needs %s, the filesystem of %s has %s."
            " Free some space there, enlarge it, or declare another install root."
            % (wanted.package, wanted.version, _size(wanted.bytes_needed), place, _size(free))
        )


def _size(number):
    return "%.1f GB (%d bytes)" % (number / 1e9, number)


def build(wanted):
    """Build, verify and move into place. Returns {"python": its version, "packages": count, "bytes": size}.

    Whatever goes wrong, ``wanted.path`` stays as it was and nothing partial remains. Raises VenvError.
    """
    check_space(wanted)
    os.makedirs(wanted.root, mode=0o755, exist_ok=True)
    try:
        with files.exclusive(wanted.root, seconds=5), _removed(wanted.partial):
            return _build(wanted)
    except files.FileProblem:
        raise VenvError("another run is installing into %s; wait for it to end" % wanted.root) from None
    except OSError as error:
        raise VenvError("%s: %s" % (error.filename or wanted.root, error.strerror)) from None


@contextlib.contextmanager
def _removed(path):
    """Nothing is at ``path``, neither before nor after: a killed run may have left its part there."""
    shutil.rmtree(path, ignore_errors=True)
    try:
        yield
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _build(wanted):
    _make(wanted)
    _install(wanted)
    python = os.path.join(wanted.partial, "bin", "python")
    engine_relocation.relocate(wanted.partial, wanted.path)
    _run(wanted, [python, "-m", "compileall", "-q", "-f", "-s", wanted.partial, "-p", wanted.path, wanted.partial])
    try:
        contents = engine_python.ask(python, wanted.user, hashes=True)
        engine_python.expect_release(python, contents, wanted.version)
    except engine_python.PythonError as problem:
        raise VenvError("installed, but not usable: %s" % problem) from None
    size = _disk_size(wanted.partial)
    manifest = {
        "format": 1,
        "package": wanted.package,
        "version": wanted.version,
        "python": contents.python,
        "bytes": size,
        "packages": contents.packages,
    }
    with open(os.path.join(wanted.partial, MANIFEST), "w", encoding="utf-8") as handle:
        json.dump(manifest, handle, indent=1, sort_keys=True)
        handle.write("\n")
    os.sync()
    _swap(wanted)
    return {"python": contents.python, "packages": len(contents.packages), "bytes": size}


def _make(wanted):
    try:
        commands.run([wanted.base_python, "-m", "venv", "--prompt", wanted.version, wanted.partial], 300)
    except commands.CommandError as error:
        remedy = ""
        if "ensurepip is not available" in str(error):
            remedy = "\nInstall the package python3-venv (Debian, Ubuntu) or declare another base_python."
        full = _full(wanted, str(error))
        raise VenvError("cannot make a virtual environment: %s%s%s" % (error, remedy, full)) from None


def _install(wanted):
    """Run pip on the declared sources; the index address goes through the environment, where ps does not show it."""
    scratch = os.path.join(wanted.partial, ".scratch")
    os.mkdir(scratch, 0o700)
    listed = os.path.join(scratch, "requirements.txt")
    names = {_name(line) for line in wanted.requirements}
    lines = list(wanted.requirements)
    if _name(wanted.package) not in names:
        lines.insert(0, "%s==%s" % (wanted.package, wanted.version))
    with open(listed, "w", encoding="utf-8") as handle:
        handle.write("".join(line + "\n" for line in lines))
    argv = [os.path.join(wanted.partial, "bin", "python"), "-I", "-m", "pip", "install", "--no-input", "--no-compile"]
    # A source distribution would run its own code as root; wheels are only unpacked.
    argv += ["--only-binary", ":all:", "--no-cache-dir", "--disable-pip-version-check", "--progress-bar", "off"]
    if wanted.find_links:
        argv += ["--find-links", wanted.find_links]
        if not wanted.index_url:
            argv.append("--no-index")
    if any("--hash" in line for line in lines):
        argv.append("--require-hashes")
    with _environment(_pip_environment(wanted, scratch)):
        _run(wanted, [*argv, "-r", listed], scratch)
    shutil.rmtree(scratch)


def _name(line):
    match = _PACKAGE_NAME.match(line.strip())
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else None


def _pip_environment(wanted, scratch):
    """Return what pip finds in its environment. Only where no source is declared, the host's own pip.conf counts."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    kept["TMPDIR"] = scratch
    if wanted.index_url or wanted.find_links:
        kept["PIP_CONFIG_FILE"] = os.devnull
    if wanted.index_url:
        kept["PIP_INDEX_URL"] = wanted.index_url
    return kept


@contextlib.contextmanager
def _environment(variables):
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _run(wanted, argv, scratch=None):
    """Run one step; with ``scratch``, the one that calls other hosts."""
    try:
        if scratch is None or wanted.destinations is None:
            commands.run(argv, wanted.timeout)
        else:
            engine_confined.run(argv, wanted.destinations, wanted.timeout, scratch)
    except commands.CommandError as error:
        text = _CREDENTIALS.sub("", str(error))
        text += _full(wanted, text)
        raise VenvError("installing %s %s failed: %s" % (wanted.package, wanted.version, text)) from None


def _full(wanted, text):
    """Return what to add to an error when the filesystem ran full, which not every program says."""
    if _NO_SPACE not in text and shutil.disk_usage(wanted.root).free > _NEARLY_FULL:
        return ""
    return "\nThe filesystem of %s ran full; free some space there or declare another install root." % wanted.root


def _disk_size(path):
    total = 0
    for folder, _folders, names in os.walk(path):
        for name in names:
            total += os.lstat(os.path.join(folder, name)).st_blocks * 512
    return total


def _swap(wanted):
    """Rename into place. An environment that is already there is replaced; its running processes keep their files."""
    shutil.rmtree(wanted.former, ignore_errors=True)
    if os.path.isdir(wanted.path):
        os.rename(wanted.path, wanted.former)
    try:
        os.rename(wanted.partial, wanted.path)
    except OSError:
        if os.path.isdir(wanted.former):
            os.rename(wanted.former, wanted.path)
        raise
    shutil.rmtree(wanted.former, ignore_errors=True)
