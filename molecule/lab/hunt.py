"""Where in a node given strings lie: in its files, its processes, its units and its journal, all of each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from lab.testing import Console

PRIVATE = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n(.*?)-----END", re.DOTALL)
# Runs in the node. The strings come by standard input and reach grep by a file in memory, so that the search does not find itself.
SEARCH = r"""
import json, os, re, subprocess, sys
given = json.load(sys.stdin)
wanted = {name: [one.encode() for one in strings] for name, strings in given["wanted"].items()}
needles = b"\n".join(one for strings in wanted.values() for one in strings)
memory = os.memfd_create("hunt")
os.write(memory, needles)
found = {}

def names(data):
    return {name for name, strings in wanted.items() if any(one in data for one in strings)}

def book(place, data):
    if held := names(data):
        found.setdefault(place, set()).update(held)

def said(*argv):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout

def content(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""

book("units", said("systemctl", "show", "*") + said("systemctl", "cat", "*") + said("systemctl", "show-environment"))
book("journal", said("journalctl", "--quiet", "--no-pager", "--all", "--output=export"))
for pid in filter(str.isdigit, os.listdir("/proc")):
    if int(pid) != os.getpid():
        for what in ("cmdline", "environ"):
            book(f"{what} of {content(f'/proc/{pid}/comm').decode().strip()}", content(f"/proc/{pid}/{what}"))
kinds = {"overlay", "tmpfs", "ramfs", "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "fuse.fuse-overlayfs", "hugetlbfs", "9p"}
mounts = [line.split() for line in open("/proc/self/mounts")]
places = [place for _what, place, kind, options, *_ in mounts if kind in kinds and options.split(",")[0] == "rw" and os.path.isdir(place)]
pruned = [word for path in given["but"] for word in ("-path", path, "-prune", "-o")]
listing = ["find", *places, "-xdev", *pruned, "-type", "f", "-print0"]
searching = ["xargs", "-0", "-r", "grep", "-lsaF", "-f", f"/proc/self/fd/{memory}", "--"]
files = subprocess.Popen(listing, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
hits = subprocess.run(searching, stdin=files.stdout, stdout=subprocess.PIPE, pass_fds=[memory]).stdout.decode()
# The journal's own files: whatever is in them is said above.
for path in set(hits.splitlines()):
    if not re.match("/(run|var)/log/journal/", path):
        book(path, content(path))
print(json.dumps({"places": sorted(places), "found": {place: sorted(held) for place, held in found.items()}}))
"""


def needles(paths: Iterable[Path], root: Path) -> dict[str, list[str]]:
    """Return what to look for of secrets' files: each line of a private key in PEM, each line of any other file."""
    found: dict[str, list[str]] = {}
    for path in paths:
        text = path.read_text()
        bodies = PRIVATE.findall(text)
        lines = [line for body in bodies for line in body.split()] if "-----BEGIN" in text else text.split()
        # The last line of a key may be a few characters, which are anywhere.
        if kept := [line for line in lines if len(line) >= 16]:
            found[str(path.relative_to(root))] = kept
    return found


def hunt(console: Console, wanted: Mapping[str, Iterable[str]], but: Iterable[str] = ()) -> dict[str, list[str]]:
    """Return the places of a node where something of ``wanted`` lies, each with the names of what lies there.

    The directories ``but`` are not searched.
    """
    given = json.dumps({"wanted": {name: list(strings) for name, strings in wanted.items()}, "but": list(but)})
    told = json.loads(console.run("python3", "-c", SEARCH, given=given))
    missing = {"/", "/run", "/tmp", "/dev/shm"} - set(told["places"])  # noqa: S108 - looked into, not written to
    if missing - {"/tmp"}:  # noqa: S108 - of the root file system where nothing is mounted there
        raise AssertionError(f"not searched: {sorted(missing)}, only {told['places']}")
    places: dict[str, list[str]] = told["found"]
    return places
