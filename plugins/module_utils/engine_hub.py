# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetches one revision of a model from a hub. Runs as a program of its own, confined, and imports Python's library only.

``main`` reads a JSON file (engine_model writes it) and prints one object: what is there, or under ``problem`` why not.
"""

from __future__ import annotations

import errno
import http.client
import json
import os
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

from ansible_collections.hardened.vllm.plugins.module_utils.engine_hub_files import (
    INDEX,
    Problem,
    check_index,
    check_safetensors,
    chosen,
    digests,
)

LISTING_BYTES = 32 << 20
CHUNK = 1 << 20
# Times in a row that a file may come no further.
FAILURES = 4


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to declared hosts only."""

    max_redirections = 5

    def __init__(self, hub):
        self._hub = hub

    def redirect_request(self, req, _fp, _code, _msg, _headers, newurl):
        self._hub.check_address(newurl)
        return self._hub.request(newurl, req.get_header("Range"))

    # Python knows this status from 3.11 on.
    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302


class Hub:
    """One hub, asked for one revision; ``job`` is the file's content."""

    def __init__(self, job):
        self._job = job
        self._endpoint = job["endpoint"].rstrip("/")
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPSHandler(context=ssl.create_default_context()),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _Redirects(self),
        ):
            self._opener.add_handler(handler)
        self.check_address(self._endpoint)

    def check_address(self, url):
        """Raise Problem unless ``url`` is https and at the endpoint or at a declared host."""
        try:
            scheme, host, port = _origin(url)
        except ValueError as error:
            raise Problem("the hub leads to an address that is none: %s" % error) from None
        if scheme == "https" and ((scheme, host, port) == _origin(self._endpoint) or host in self._job["hosts"]):
            return
        raise Problem(
            "the hub leads to %s://%s, which is not declared. Expected https at %s or at one of model.source.hosts (%s). Add the host there if "
            "it is the hub's own store of files."
            % (scheme, host, self._endpoint, ", ".join(self._job["hosts"]) or "none")
        )

    def request(self, url, part=None):
        """Return a request for ``url``; the token goes to the endpoint alone, and a redirect never carries it on."""
        # Both callers have seen that it is https.
        made = urllib.request.Request(  # noqa: S310
            url, headers={"User-Agent": "hardened-vllm", "Accept-Encoding": "identity"}
        )
        if part:
            made.add_header("Range", part)
        if self._job["token"] and _origin(url) == _origin(self._endpoint):
            made.add_unredirected_header("Authorization", "Bearer " + self._job["token"])
        return made

    def open(self, url, offset=0):
        """Return the answer for ``url`` from ``offset`` on. Raises Problem, or OSError when trying again may help."""
        try:
            request = self.request(url, "bytes=%d-" % offset if offset else None)
            return self._opener.open(request, timeout=self._job["stall_seconds"])
        except urllib.error.HTTPError as error:
            if error.code == 429 or error.code >= 500:
                raise ConnectionError("status %d" % error.code) from None
            raise Problem("%s: status %d. %s" % (url.partition("?")[0], error.code, _meaning(error.code))) from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise Problem(
                    "%s: the certificate is not trusted (%s). Have its authority in the node's trust store."
                    % (url.partition("?")[0], error.reason.verify_message)
                ) from None
            raise
        except ValueError as error:
            raise Problem("%s: the hub leads to an address that is none: %s" % (url.partition("?")[0], error)) from None

    def listing(self):
        """Return what the hub has of the revision and is fetched: ``{name: {"bytes", "algorithm", "digest"}}``."""
        url = "%s/api/models/%s/revision/%s?blobs=true" % (
            self._endpoint,
            self._job["repository"],
            self._job["revision"],
        )
        kept = []

        def ask():
            with self.open(url) as answer:
                kept.append(answer.read(LISTING_BYTES + 1))

        self._persist("the list of files", ask, lambda: 0)
        if len(kept[-1]) > LISTING_BYTES:
            raise Problem("the list of files is longer than %d bytes, which no model's is" % LISTING_BYTES)
        try:
            told = json.loads(kept[-1])
            commit, entries = told["sha"], told["siblings"]
            found = chosen(entries)
        except (ValueError, LookupError, TypeError, RecursionError):
            raise Problem("%s answered something that is no list of a model's files" % self._endpoint) from None
        if commit != self._job["revision"]:
            raise Problem("asked for revision %s, the hub answered with %r" % (self._job["revision"], commit))
        return found

    def fetch(self, name, file, place):
        """Have ``name`` below ``place``, whole and with the digest the hub gave; return its SHA-256. Goes on with what an earlier run left."""
        path = os.path.join(place, name)
        part = path + ".part"
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        if os.path.isfile(path):
            found = digests(path, file["bytes"])
            if found[file["algorithm"]] == file["digest"]:
                return found["sha256"]
            os.unlink(path)
        url = "%s/%s/resolve/%s/%s" % (
            self._endpoint,
            self._job["repository"],
            self._job["revision"],
            urllib.parse.quote(name),
        )
        self._persist(name, lambda: self._go_on(url, name, part, file["bytes"]), lambda: _size(part))
        found = digests(part, file["bytes"])
        if found[file["algorithm"]] != file["digest"]:
            os.unlink(part)
            raise Problem(
                "%s has the %s %s, the hub promised %s. It was thrown away; if it happens again, what lies between is not to be trusted."
                % (name, file["algorithm"], found[file["algorithm"]], file["digest"])
            )
        if name.endswith(".safetensors"):
            check_safetensors(part, name)
        os.replace(part, path)
        return found["sha256"]

    def _go_on(self, url, name, part, size):
        have = _size(part)
        if have > size:
            os.unlink(part)
            have = 0
        if have == size and have:
            return
        with self.open(url, have) as answer:
            going_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith("bytes %d-" % have)
            if answer.status != 200 and not going_on:
                raise Problem("%s: the hub answered with status %d to a request for its bytes" % (name, answer.status))
            have = have if going_on else 0
            with open(part, "ab" if going_on else "wb") as handle:
                for chunk in iter(lambda: answer.read(CHUNK), b""):
                    have += len(chunk)
                    if have > size:
                        break
                    handle.write(chunk)
        if have > size:
            os.unlink(part)
            raise Problem("%s is longer than the %d bytes the hub promised; it was thrown away" % (name, size))
        if have < size:
            raise ConnectionError("it ended after %d of %d bytes" % (have, size))

    def _persist(self, what, step, progress):
        """Call ``step`` until it succeeds; give up when ``progress`` (a number) stands still FAILURES times in a row."""
        failures, before = 0, progress()
        while True:
            try:
                return step()
            except (OSError, http.client.HTTPException) as error:
                if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
                    raise Problem("%s cannot be written: %s" % (what, os.strerror(error.errno))) from None
                failures = failures + 1 if progress() <= before else 1
                before = progress()
                if failures >= FAILURES:
                    raise Problem(
                        "%s did not come from %s: %s. What came is kept; another run goes on there."
                        % (what, self._endpoint, getattr(error, "reason", None) or error or type(error).__name__)
                    ) from None
                time.sleep(self._job["pause_seconds"] * 2**failures)


def _origin(url):
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or 443


def _size(path):
    return os.path.getsize(path) if os.path.exists(path) else 0


def _meaning(status):
    if status in (401, 403):
        return "The repository is closed to this node: give a token that may read it (model.source.token_file), and accept its licence."
    if status == 404:
        return "There is no such repository, revision or file, or only a token shows it. Mend model.source."
    return "Expected 200."


def check_space(place, files, spare):
    """Raise Problem when the filesystem of ``place`` has too little free for what is still to come and ``spare`` bytes."""
    come = sum(max(_size(os.path.join(place, name)), _size(os.path.join(place, name + ".part"))) for name in files)
    needed = sum(file["bytes"] for file in files.values()) - come + spare
    while not os.path.exists(place):
        place = os.path.dirname(place)
    free = shutil.disk_usage(place).free
    if free < needed:
        raise Problem(
            "too little free space: %.1f GB are needed (%.1f of them stay free), the filesystem of %s has %.1f GB. Free some there, for example from "
            "revisions no longer served, or enlarge it." % (needed / 1e9, spare / 1e9, place, free / 1e9)
        )


def run(job):
    """Return the files of the revision, fetched unless the job only looks."""
    hub = Hub(job)
    files = hub.listing()
    check_space(job["place"], files, job["bytes_spare"])
    if job["look"]:
        return {"files": {name: {"bytes": file["bytes"]} for name, file in files.items()}}
    result = {}
    # Small ones first: an index that does not fit ends it before the weights are fetched.
    for name in sorted(files, key=lambda name: (name.endswith(".safetensors"), name)):
        digest = hub.fetch(name, files[name], job["place"])
        if name.endswith(INDEX):
            check_index(os.path.join(job["place"], name), name, files)
        result[name] = {"bytes": files[name]["bytes"], "sha256": digest}
    return {"files": result}


def main():
    """Run the program."""
    with open(sys.argv[1], encoding="utf-8") as handle:
        job = json.load(handle)
    try:
        answer = run(job)
    except Problem as problem:
        answer = {"problem": str(problem)}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
