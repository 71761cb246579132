# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files of a model are fetched, and what they have to be. Part of the program engine_hub: Python's library only."""

from __future__ import annotations

import hashlib
import json
import os
import re

# What vLLM reads of a model and what holds no code. Everything else is left where it is.
WANTED = (".safetensors", ".json", ".txt", ".model", ".tiktoken", ".jinja")
UNSAFE = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".msgpack", ".gguf")
INDEX = ".safetensors.index.json"
PICKLE_INDEX = ".bin.index.json"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+=-]{0,127}(/[A-Za-z0-9_][A-Za-z0-9._+=-]{0,127}){0,5}")
MOST_FILES = 10000
HEADER_BYTES = 100_000_000
CHUNK = 1 << 20


class Problem(Exception):
    """The model cannot be had. The text is for the user."""


def chosen(entries):
    """Return the files to fetch of those a hub lists, with size and digest; raises Problem for a list not to be trusted."""
    names = [entry["rfilename"] for entry in entries]
    if len(names) > MOST_FILES or len(set(map(str, names))) != len(names):
        raise Problem("the list has %d names, some twice or more than %d: no model's has" % (len(names), MOST_FILES))
    found = {}
    for entry in entries:
        name = entry["rfilename"]
        parts = name.split("/") if isinstance(name, str) else [""]
        if {"", ".", ".."} & set(parts) or not name.isprintable() or "\\" in name:
            raise Problem(
                "the list names %r, which could lead out of the model's directory; nothing was fetched" % (name,)
            )
        if any(part.startswith(".") for part in parts) or not name.endswith(WANTED) or name.endswith(PICKLE_INDEX):
            continue
        if NAME.fullmatch(name) is None:
            if not name.endswith((".safetensors", INDEX)):
                continue
            raise Problem("the list names %r; expected letters, digits and ._+=- in the name of a file" % name)
        found[name] = _promised(name, entry)
    for name in found:
        if any(other.startswith(name + "/") for other in found):
            raise Problem("the list names %r as a file and as a directory" % name)
    if not any(name.endswith(".safetensors") for name in found):
        held = sorted(name for name in names if name.endswith(UNSAFE))
        raise Problem(
            "the revision holds no weights in safetensors%s. Only that format is loaded, because others can hold code: choose a revision or a "
            "repository that has it, or convert the weights and declare model.path."
            % (", only %s" % ", ".join(held[:5]) if held else "")
        )
    return found


def _promised(name, entry):
    large, size = entry.get("lfs"), entry.get("size")
    if isinstance(large, dict):
        size, algorithm, digest = large.get("size", size), "sha256", large.get("sha256")
    else:
        algorithm, digest = "git", entry.get("blobId")
    length = {"sha256": 64, "git": 40}[algorithm]
    sound = isinstance(digest, str) and re.fullmatch("[0-9a-f]{%d}" % length, digest)
    if not sound or isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise Problem("the hub gives no size and checksum for %s, so that nothing could be checked" % name)
    return {"bytes": size, "algorithm": algorithm, "digest": digest}


def digests(path, size):
    """Return the ``sha256`` of a file, and the digest ``git`` gives its content."""
    whole = hashlib.sha256()
    blob = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with open(path, "rb") as handle:
        for chunk in iter(lambda: handle.read(CHUNK), b""):
            whole.update(chunk)
            blob.update(chunk)
    return {"sha256": whole.hexdigest(), "git": blob.hexdigest()}


def check_safetensors(path, name):
    """Raise Problem unless the file begins as safetensors do: the length of a header, and the header, an object."""
    with open(path, "rb") as handle:
        begin = handle.read(9)
    length = int.from_bytes(begin[:8], "little")
    if begin[8:] != b"{" or not 2 <= length <= min(HEADER_BYTES, os.path.getsize(path) - 8):
        os.unlink(path)
        raise Problem("%s is no safetensors file, whatever its name says; it was thrown away" % name)


def check_index(path, name, there):
    """Raise Problem unless the index at ``path`` names weights that are among the files ``there``."""
    try:
        with open(path, encoding="utf-8") as handle:
            shards = sorted({str(shard) for shard in json.load(handle)["weight_map"].values()})
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise Problem("%s is no index of weights" % name) from None
    folder = os.path.dirname(name)
    missing = [
        shard for shard in shards if not shard.endswith(".safetensors") or os.path.join(folder, shard) not in there
    ]
    if missing:
        raise Problem(
            "%s needs %s; expected safetensors files of this revision. Choose a revision that is complete."
            % (name, ", ".join(map(repr, missing[:5])))
        )
