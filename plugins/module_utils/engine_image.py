# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Has a container image in podman's storage: by digest, from its registry or an archive, asked once what it holds."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass, field

from ansible_collections.hardened.vllm.plugins.module_utils import commands, engine_confined, engine_python, engine_venv

PODMAN = "/usr/bin/podman"
# One file for each image that was brought here, named by the digest; what somebody else pulled has none and is never removed.
RECORDS = "/var/lib/hardened-vllm/images"
# Only unpacks and writes below podman's own directories.
SANDBOX = ("ProtectHome=read-only", "ProtectKernelTunables=yes", "ProtectKernelModules=yes", "ProtectClock=yes")
ASK_SECONDS = 300
# Where a registry sends those who pull from it; others declare it.
ELSEWHERE = {
    "docker.io": (
        "registry-1.docker.io",
        "auth.docker.io",
        "production.cloudflare.docker.com",
        "docker-images-prod.6aa30f8b08e16409b46e0173d6de2f56.r2.cloudflarestorage.com",
    ),
    "quay.io": tuple("cdn%s.quay.io" % number for number in ("", "01", "02", "03", "04", "05", "06")),
}


class ImageError(Exception):
    """The image cannot be had or is not what is expected. The text is for the user."""


@dataclass(frozen=True)
class Wanted:
    """An ``image`` (``NAME@sha256:...``) that holds vLLM ``version`` for its interpreter ``python``, run as ``user``.

    ``archive`` is an OCI archive on this host that has it, ``auth`` the text of an auth.json. ``destinations`` are the blocks that may
    be called for it; when they are None, the addresses of its registry and of ``hosts`` are. ``timeout`` in seconds bounds the pull,
    ``bytes_needed`` is asked for before it.
    """

    image: str
    version: str
    python: str
    user: str
    archive: str | None = None
    auth: str | None = None
    destinations: list | None = None
    hosts: list = field(default_factory=list)
    bytes_needed: int = 0
    timeout: float = 3600.0

    @property
    def digest(self):
        return self.image.partition("@")[2]

    @property
    def name(self):
        return self.image.partition("@")[0]

    @property
    def record(self):
        return os.path.join(RECORDS, self.digest.replace(":", "-"))


def there(image):
    """Tell whether podman has ``image``. Raises CommandError when it cannot be asked."""
    try:
        commands.run([PODMAN, "image", "exists", image], 60)
    except commands.CommandError as error:
        if "ended with status 1 and wrote nothing" in str(error):
            return False
        raise
    return True


def names():
    """Return every image podman has as ``NAME@DIGEST``, sorted, those without a name left out."""
    said = commands.run([PODMAN, "images", "--digests", "--format", "{{.Repository}}@{{.Digest}}"], 60)
    return sorted({name for name in said.split() if "<none>" not in name})


def verify(wanted):
    """Ask the image what it holds, as the service's user, without network or rights. Raises ImageError."""
    who = engine_python.identity(wanted.user)
    argv = [PODMAN, "run", "--rm", "--pull=never", "--network=none", "--read-only", "--read-only-tmpfs=false"]
    argv += [
        "--cap-drop=all",
        "--security-opt=no-new-privileges",
        "--userns=host",
        "--image-volume=ignore",
        "--http-proxy=false",
    ]
    argv += [
        "--log-driver=none",
        "--user=%d:%d" % (who["user"], who["group"]),
        "--workdir=/",
        "--entrypoint=" + wanted.python,
    ]
    what = "%s in %s" % (wanted.python, wanted.image)
    try:
        said = commands.run([*argv, wanted.image, *engine_python.query_words(hashes=False)], ASK_SECONDS)
        engine_python.expect_release(what, engine_python.contents(what, said), wanted.version)
    except commands.CommandError as error:
        # Without the program it was to run.
        ending = str(error).rpartition(engine_python.ENTRY)[2].lstrip(": ")
        raise ImageError("python %s cannot be asked what is installed: %s" % (what, ending)) from None
    except engine_python.PythonError as problem:
        raise ImageError(str(problem)) from None


def check_space(wanted):
    """Raise ImageError when podman's storage has less free than asked for."""
    place = commands.run([PODMAN, "info", "--format", "{{.Store.GraphRoot}}"], 60).strip()
    remedy = "Free some space there, enlarge it, or remove images nobody needs: podman image prune."
    problem = engine_venv.lacks_space(place, wanted.bytes_needed, wanted.image, remedy)
    if problem:
        raise ImageError(problem)


def fetch(wanted):
    """Pull or load the image, and verify it. Nothing that runs is touched. Raises ImageError."""
    check_space(wanted)
    before = _identifiers()
    try:
        with _scratch() as scratch:
            if wanted.archive:
                _load(wanted, scratch, before)
            else:
                _confined(wanted, [PODMAN, "pull", "--quiet", *_auth(wanted, scratch), wanted.image], scratch)
    except commands.CommandError as error:
        raise ImageError("%s cannot be had: %s" % (wanted.image, error)) from None
    if not there(wanted.image):
        raise ImageError(
            "%s: podman has no such image after it was pulled; look at podman images --digests" % wanted.image
        )
    if set(_identifiers()) - set(before):
        os.makedirs(RECORDS, mode=0o700, exist_ok=True)
        with open(wanted.record, "w", encoding="ascii") as handle:
            handle.write(wanted.image + "\n")
    verify(wanted)


def _load(wanted, scratch, before):
    """Load the archive and give what it holds its name, if its manifest has the declared digest."""
    said = _confined(wanted, [PODMAN, "pull", "--quiet", "oci-archive:" + wanted.archive], scratch)
    identifier = said.split()[-1] if said.split() else ""
    found = json.loads(commands.run([PODMAN, "image", "inspect", identifier], 60))[0]
    digests = {found["Digest"], *(name.partition("@")[2] for name in found.get("RepoDigests") or [])}
    if wanted.digest not in digests:
        if identifier not in before:
            commands.run([PODMAN, "rmi", identifier], 300)
        raise ImageError(
            "%s: the archive holds %s, not the declared image. Nothing of it was kept. Make it anew: skopeo copy --preserve-digests"
            " docker://%s oci-archive:FILE" % (wanted.image, ", ".join(sorted(digests)), wanted.image)
        )
    commands.run([PODMAN, "tag", identifier, "%s:%s" % (wanted.name, wanted.digest[7:19])], 60)


def _confined(wanted, argv, scratch):
    destinations = [] if wanted.archive and wanted.destinations is None else wanted.destinations
    registry = engine_confined.host_of(wanted.name.partition("/")[0])
    hosts = [registry, *ELSEWHERE.get(registry, ()), *wanted.hosts]
    python = os.path.realpath(sys.executable)
    return engine_confined.run(
        argv, destinations, wanted.timeout, scratch, properties=SANDBOX, hosts=hosts, python=python
    )


def _auth(wanted, scratch):
    if not wanted.auth:
        return []
    place = os.path.join(scratch, "auth.json")
    with open(place, "w", encoding="utf-8") as handle:
        handle.write(wanted.auth)
    return ["--authfile", place]


@contextlib.contextmanager
def _scratch():
    """Give a directory that only root reads, for as long as the block runs."""
    place = tempfile.mkdtemp(prefix="hardened-vllm-image-", dir="/run")
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _identifiers():
    return commands.run([PODMAN, "images", "--quiet", "--no-trunc", "--all"], 60).replace("sha256:", "").split()


def recorded():
    """Return {file of the record: image} of what was brought here."""
    try:
        names = sorted(os.listdir(RECORDS))
    except OSError:
        return {}
    found = {}
    for name in names:
        with open(os.path.join(RECORDS, name), encoding="ascii") as handle:
            found[os.path.join(RECORDS, name)] = handle.read().strip()
    return found


def _expect_unused(image, identifier):
    asked = [PODMAN, "ps", "--all", "--format", "{{.Names}}", "--filter", "ancestor=%s" % identifier]
    others = [name for name in commands.run(asked, 60).split() if not name.startswith("hardened-vllm-")]
    if others:
        raise commands.CommandError(
            "%s: containers this collection did not make have it: %s. It was left where it is. Remove them, then run this again."
            % (image, ", ".join(others))
        )


def remove(records):
    """Remove the images of ``records`` ({file: image}) and the notes of them. Raises CommandError, also when others run one of them."""
    for place, image in records.items():
        if there(image):
            identifier = commands.run([PODMAN, "image", "inspect", "--format", "{{.Id}}", image], 60).strip()
            _expect_unused(image, identifier)
            commands.run([PODMAN, "rmi", "--force", identifier], 600)
        os.unlink(place)
    if records:
        os.rmdir(RECORDS)
