# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files: keys, logs, caches, models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...planning.endpoint import GATEWAY_USER
from ..evidence import File
from ..view import Absent, Finding, Looked, Said, Unchecked, View
from . import containers
from .host import shown_file, user_rights

GATEWAY_SECRETS = ("keys.conf", "authorization.conf")
LOG = "/var/log/hardened-vllm-gateway"


def _files(view: View, control: str) -> Sequence[File] | Said:
    evidence = view.known("files", control=control)
    return evidence if isinstance(evidence, Unchecked) else evidence["files"] or []


def _gaps(view: View, prefix: str) -> list[str]:
    unknown = view.evidence["unknown"] if view.evidence is not None else []
    return [f"{one['fact']}: {one['reason']}" for one in unknown if one["fact"].startswith(f"files:{prefix}")]


def _wrong(view: View, control: str, file: File, expected: str, kind: str = "") -> Finding:
    """Return a finding on mode or owner of a file, with when these were last changed."""
    found = f"{kind}{shown_file(file)}"
    return view.finding(control, file["path"], found, expected, evidence=[f"{found}, last changed {file['changed']}"])


def secret_files(view: View) -> Iterator[Said]:
    """Judge whether files with keys are closed to everybody but root and their service."""
    if view.part is None:
        yield Absent("no plan says where keys lie; running_settings looks for them in arguments and environments")
        return
    files = _files(view, "HOST-01")
    if not isinstance(files, Sequence):
        yield files
        return
    wanted = {
        f"/etc/hardened-vllm/{engine['name']}/secrets.yaml" for engine in view.engines if engine["secret_arguments"]
    }
    with_tls = [engine for engine in view.engines if engine["tls"] is not None]
    wanted |= {f"/etc/hardened-vllm/{engine['name']}/tls.pem" for engine in with_tls}
    wanted |= {f"/etc/hardened-vllm/{engine['name']}/client.pem" for engine in with_tls if engine["tls"]["client"]}
    if view.gateway is not None:
        wanted |= {f"/etc/hardened-vllm/gateway/{name}" for name in GATEWAY_SECRETS}
        # With ACME the gateway's own account asks for the certificate, and has the key.
        acme = view.gateway["tls"]["issuer"] == "acme"
        wanted.add(view.gateway["tls"]["key"] if acme else "/etc/hardened-vllm/gateway/tls.key")
        if view.gateway["upstream_tls"] is not None and view.gateway["upstream_tls"]["client"]:
            wanted.add("/etc/hardened-vllm/gateway/engines-client.pem")
    if view.part["ray"] is not None:
        wanted |= set(view.part["ray"]["secret_files"])
    if not wanted:
        yield Absent("no key lies on this host")
    known = {file["path"]: file for file in files}
    for path in sorted(wanted):
        file = known.get(path)
        if file is None:
            yield Unchecked(f"{path} was not seen", "HOST-01")
            continue
        group, others = user_rights(file["mode"])
        if others or group & 2 or (file["uid"] != 0 and path.startswith("/etc/")) or file["kind"] != "file":
            kind = "" if file["kind"] == "file" else f"{file['kind']} "
            yield _wrong(view, "HOST-01", file, "a file of root's, 0640 or closer", kind)
        else:
            yield Looked("HOST-01", f"{path} {shown_file(file)}")


def cache_files(view: View) -> Iterator[Said]:
    """Judge whether caches, homes and sockets of the engines are 0700 and their service's own."""
    files = _files(view, "ENG-15")
    if not isinstance(files, Sequence):
        yield files
        return
    if view.part is None:
        yield from _foreign_caches(view, files)
        return
    if not view.engines:
        yield Absent("no engine is planned here")
    known = {file["path"]: file for file in files}
    for engine in view.engines:
        # A container's /run is not the host's.
        for base in ("/var/cache", "/var/lib", *(() if containers.is_image(view) else ("/run",))):
            path = f"{base}/{engine['directory']}"
            file = known.get(path)
            if file is None:
                yield Unchecked(f"{path} was not seen", "ENG-15")
            elif file["mode"] != "0700" or file["owner"] not in (engine["user"], None):
                yield _wrong(view, "ENG-15", file, f"0700 {engine['user']}:{engine['group']}")
            else:
                yield Looked("ENG-15", path)
            for inner in files:
                strange = inner["owner"] not in (engine["user"], "root")
                if inner["path"].startswith(f"{path}/") and strange:
                    yield _wrong(view, "ENG-15", inner, f"files of {engine['user']}'s only")


def engine_sockets(view: View) -> Iterator[Said]:
    """Judge whether nobody but the gateway gets to the sockets engines serve on."""
    engines = [engine for engine in view.engines if engine["socket"] is not None]
    if not engines:
        yield Absent("no engine is planned here that serves on a socket")
        return
    files = _files(view, "GW-12")
    if not isinstance(files, Sequence):
        yield files
        return
    known = {file["path"]: file for file in files}
    for engine in engines:
        group = engine["socket"]["group"]
        wanted = {engine["socket"]["directory"]: ("directory", "2750"), engine["api"]["socket"]: ("socket", "0770")}
        for path, (kind, mode) in wanted.items():
            file = known.get(path)
            if file is None:
                yield Unchecked(f"{path} was not seen", "GW-12")
            elif (file["kind"], file["mode"], file["owner"], file["group"]) == (kind, mode, engine["user"], group):
                yield Looked("GW-12", f"{path} {shown_file(file)}")
            else:
                yield _wrong(view, "GW-12", file, f"{kind} {mode} {engine['user']}:{group}", f"{file['kind']} ")


def _foreign_caches(view: View, files: Sequence[File]) -> Iterator[Said]:
    homes = {account["home"] for account in (view.evidence["users"] if view.evidence is not None else None) or []}
    looked = 0
    for file in files:
        if "cache" not in file["asked"] or file["kind"] == "link":
            continue
        looked += 1
        group, others = user_rights(file["mode"])
        if others & 2 or group & 2:
            yield _wrong(view, "ENG-15", file, "a directory only its service writes to")
    if looked:
        yield Looked("ENG-15", f"{looked} files of caches")
    else:
        yield Absent(f"no cache was found below {len(homes)} homes")


def model_files(view: View) -> Iterator[Said]:
    """Judge whether nobody but root writes to the model and the interpreter."""
    if not view.engines:
        yield Absent("no engine is planned here")
        return
    files = _files(view, "HOST-02")
    if not isinstance(files, Sequence):
        yield files
        return
    paths = {path for engine in view.engines for path in engine["read_paths"]}
    if view.part is not None and view.part["install"] is not None:
        paths |= {view.part["install"][key] for key in ("root",) if view.part["install"].get(key)}
    for path in sorted(paths):
        below = [file for file in files if file["path"] == path or file["path"].startswith(f"{path}/")]
        gaps = _gaps(view, path)
        # Below a path that was asked about, only what others than root may write is told.
        seen = bool(below) or any(path.startswith(f"{file['asked']}/") for file in files)
        if not seen:
            yield Unchecked(f"{path} was not seen", "HOST-02")
        for gap in gaps:
            yield Unchecked(gap, "HOST-02")
        bad = [file for file in below if _writable(file, {engine["user"] for engine in view.engines})]
        for file in bad:
            yield _wrong(view, "HOST-02", file, "a file only root may write")
        if seen and not bad:
            yield Looked("HOST-02", path)


def _writable(file: File, services: set[str]) -> bool:
    if file["kind"] == "link":
        return False
    group, others = user_rights(file["mode"])
    return bool(others & 2) or file["owner"] in services or (bool(group & 2) and file["group"] in services)


def access_log(view: View) -> Iterator[Said]:
    """Judge whether the gateway writes a log that others cannot read."""
    if view.gateway is None:
        yield Absent("no gateway is planned here")
        return
    files = _files(view, "GW-10")
    if not isinstance(files, Sequence):
        yield files
        return
    known = {file["path"]: file for file in files}
    for path in (LOG, f"{LOG}/access.log"):
        if path not in known:
            yield view.finding("GW-10", path, "no such file", "a log of every request")
    directory = known.get(LOG)
    if directory is None:
        return
    # What lies in a closed directory is closed.
    if user_rights(directory["mode"])[1] or directory["owner"] not in (GATEWAY_USER, "root"):
        yield _wrong(view, "GW-10", directory, f"closed to others, of {GATEWAY_USER}")
    else:
        yield Looked("GW-10", LOG)
