# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs pip: wheels only, from declared sources, and no credential where ps or an error could show it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from dataclasses import dataclass, field

from ansible_collections.hardened.vllm.plugins.module_utils import commands, engine_confined

# Up to the last @ before the path, as programs read it.
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]+@")
_ADDRESS = re.compile(r"https?://[^\s'\"\\]+", re.IGNORECASE)
# Lines of pip config list. A further index leaves pip its own one; a proxy needs no scheme.
_INDEX_SET = re.compile(r"^\S+\.index-url=", re.MULTILINE)
_PROXY_SET = re.compile(r"^\S+\.proxy=['\"](.+)['\"]$", re.MULTILINE)
_PACKAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NO_SPACE = "No space left on device"
_NEARLY_FULL = 1 << 20
PYPI = "pypi.org"
PYPI_FILES = "files.pythonhosted.org"


# doc_fragments/wheels.py describes them.
OPTIONS = {
    "package": {"type": "str", "default": "vllm"},
    "base_python": {"type": "path", "default": "/usr/bin/python3"},
    "index_url": {"type": "str", "no_log": True},
    "index_hosts": {"type": "list", "elements": "str", "default": []},
    "find_links": {"type": "path"},
    "requirements": {"type": "list", "elements": "str", "default": []},
    "destinations": {"type": "list", "elements": "str"},
    "timeout_seconds": {"type": "int", "default": 3600},
}


class InstallError(Exception):
    """A release cannot be fetched or installed. The text is for the user."""


@dataclass(frozen=True)
class Source:
    """Where wheels come from: an index, a directory, both; the pip configuration of the node when both are None.

    ``destinations`` are the blocks pip may call, none for no network at all. When they are None it may call the hosts of the index and
    ``index_hosts``, and nobody where no index is asked.
    """

    index_url: str | None = None
    find_links: str | None = None
    destinations: list | None = None
    index_hosts: list = field(default_factory=list)

    @property
    def asks_index(self):
        return bool(self.index_url) or not self.find_links


def normalised(name):
    """Return the name of a distribution as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_lines(package, version, further):
    """Return the lines of a requirements file: ``further``, and ``package`` unless one of them pins it."""
    lines = list(further)
    if normalised(package) not in {_name(line) for line in lines}:
        lines.insert(0, "%s==%s" % (package, version))
    return lines


def _name(line):
    match = _PACKAGE_NAME.match(line.strip())
    return normalised(match[0]) if match else None


def make_environment(base_python, path, prompt):
    """Make an empty virtual environment with pip at ``path``. Raises InstallError."""
    try:
        commands.run([base_python, "-m", "venv", "--prompt", prompt, path], 300)
    except commands.CommandError as error:
        remedy = ""
        if "ensurepip is not available" in str(error):
            remedy = "\nInstall the package python3-venv (Debian, Ubuntu) or declare another base_python."
        full = _full(os.path.dirname(path), str(error))
        raise InstallError("cannot make a virtual environment: %s%s%s" % (error, remedy, full)) from None


def pip(python, words, lines, source, scratch, timeout):
    """Run ``python -m pip words -r FILE`` for requirement ``lines``; with one ``--hash`` in them all need one.

    ``scratch`` is a directory of root's own for temporary files, ``timeout`` in seconds. Raises CommandError.
    """
    listed = os.path.join(scratch, "requirements.txt")
    with open(listed, "w", encoding="utf-8") as handle:
        handle.write("".join(line + "\n" for line in lines))
    argv = [python, "-I", "-m", "pip", *words, "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    # A source distribution would run its own code as root; wheels are only unpacked.
    argv += ["--only-binary", ":all:", "--no-cache-dir"]
    if source.find_links:
        argv += ["--find-links", source.find_links]
        if not source.asks_index:
            argv.append("--no-index")
    if any("--hash" in line for line in lines):
        argv.append("--require-hashes")
    with _environment(_pip_environment(source, scratch)):
        destinations = [] if source.destinations is None and not source.asks_index else source.destinations
        hosts = hosts_of(python, source) if destinations is None else []
        engine_confined.run([*argv, "-r", listed], destinations, timeout, scratch, hosts=hosts)


def hosts_of(python, source):
    """Return the hosts pip calls for ``source``: of its index, of what pip's configuration names, and the further ones."""
    if source.index_url:
        urls = [source.index_url]
    else:
        written = commands.run([python, "-I", "-m", "pip", "config", "list"], 60)
        urls = [*_ADDRESS.findall(written), *_PROXY_SET.findall(written)]
        urls += [] if _INDEX_SET.search(written) else [PYPI]
    hosts = [host for host in dict.fromkeys(map(engine_confined.host_of, urls)) if host] or [PYPI]
    if PYPI in hosts:
        hosts.append(PYPI_FILES)
    return [*hosts, *source.index_hosts]


def failure(what, place, error):
    """Return the InstallError for a CommandError: without credentials, and saying when ``place`` ran full."""
    text = _CREDENTIALS.sub("", str(error))
    return InstallError("%s failed: %s%s" % (what, text, _full(place, text)))


def _full(place, text):
    """Return what to add to an error when the filesystem ran full, which not every program says."""
    if _NO_SPACE not in text and shutil.disk_usage(place).free > _NEARLY_FULL:
        return ""
    return "\nThe filesystem of %s ran full; free some space there or declare another install root." % place


def _pip_environment(source, scratch):
    """Return what pip finds in its environment. Only where no source is declared, the host's own pip.conf counts."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    kept["TMPDIR"] = scratch
    if source.index_url or source.find_links:
        kept["PIP_CONFIG_FILE"] = os.devnull
    if source.index_url:
        kept["PIP_INDEX_URL"] = source.index_url
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
