# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes secrets out of what an audit reads: the value becomes its digest, which says whose it is but not what it is."""

from __future__ import annotations

import hashlib
import re
from typing import Dict, Iterable, List, Optional

_WORDS = {"key", "token", "secret", "password", "passwd", "passphrase", "credential", "credentials"}
# What such a name ends with when it tells where a secret lies and not what it is.
_PLACES = {"file", "path", "dir", "directory", "mode", "type", "name"}

# Variables that say something about vLLM and what runs beneath it. Of all others the name is enough.
CONCERNED = (
    "VLLM_", "RAY_", "NCCL_", "GLOO_", "UCX_", "NIXL_", "MOONCAKE_", "MC_", "LMCACHE_", "HF_", "HUGGINGFACE_", "TRANSFORMERS_",
    "TORCH", "CUDA_", "NVIDIA_", "PYTHON", "LD_", "OTEL_", "FASTAPI_", "UVICORN_", "CUSTOM_FASTAPI_", "SAFETENSORS_", "TRITON_",
    "XDG_", "SM_", "SAGEMAKER_", "S3_", "RUNAI_", "OMP_", "DO_NOT_TRACK", "HOME", "PATH", "TMPDIR", "USER", "VIRTUAL_ENV",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
)  # fmt: skip

# Only names with such a word in them match, so that what stands before one (Environment=, another option) does not swallow it.
_TELLING = r"(?i:key|token|secret|passw|passphrase|credential)"
_VALUE = r"(?P<value>\"[^\"]*\"|'[^']*'|[^\s\"']+)"
# Whoever writes into a log chooses the text, so each pattern starts at few places and tells by one look ahead: linear in its length.
_OPTION = re.compile(
    r"(?P<head>(?<!-)--(?P<name>(?=[A-Za-z0-9_.-]*%s)[A-Za-z0-9_.-]+)(?:=|\s+))%s" % (_TELLING, _VALUE)
)
_ASSIGNED = re.compile(r"(?P<head>\b(?P<name>(?=[A-Za-z0-9_]*%s)[A-Za-z0-9_]+)=)%s" % (_TELLING, _VALUE))
_MEMBER = re.compile(
    r"(?P<head>[\"'](?P<name>(?=[A-Za-z0-9_.-]*%s)[A-Za-z0-9_.-]+)[\"']\s*:\s*)(?P<value>\"[^\"]*\")" % _TELLING
)
_BEARER = re.compile(r"(?P<head>\b(?P<name>[Bb]earer|[Bb]asic)\s+)(?!sha256:)(?P<value>[A-Za-z0-9._~+/=-]{6,})")
_LOGIN = re.compile(r"(?P<head>(?<![a-z0-9+.-])[a-z0-9+.-]+://)(?P<value>[^/\s:@\"']*:[^/\s@\"']+)(?=@)")


def digest(value: str) -> str:
    """Return what stands for a secret: ``sha256:`` and the digest of its text without white space around it."""
    return "sha256:" + hashlib.sha256(value.strip().encode("utf-8", "surrogateescape")).hexdigest()


def is_secret(name: str) -> bool:
    """Tell whether a variable or an option of this name holds a secret."""
    parts = [part for part in re.split(r"[^a-z0-9]+", name.lower()) if part]
    return bool(_WORDS & set(parts)) and parts[-1] not in _PLACES


def text(value: str) -> str:
    """Return a text (a script, a unit, a configuration) with every value that looks secret as its digest."""
    for pattern in (_OPTION, _ASSIGNED, _MEMBER):
        value = pattern.sub(_named, value)
    value = _BEARER.sub(lambda found: found["head"] + digest(found["value"]), value)
    return _LOGIN.sub(lambda found: found["head"] + digest(found["value"]), value)


def _named(found: "re.Match[str]") -> str:
    plain = found["value"].strip("\"'")
    if not is_secret(found["name"]) or plain.startswith(("sha256:", "$")) or not plain:
        return found[0]
    quote = found["value"][0] if found["value"][0] in "\"'" else ""
    return found["head"] + quote + digest(plain) + quote


def argv(words: Iterable[str]) -> List[str]:
    """Return a command line with secrets as digests: all values of an option that holds one, and those inside of words."""
    shown: List[str] = []
    hidden = False
    for word in words:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            hidden = is_secret(name) and not equals
            shown.append("%s=%s" % (name, digest(value)) if equals and value and is_secret(name) else text(word))
        elif hidden and word and not word.startswith("-"):
            shown.append(digest(word))
        else:
            hidden = False
            shown.append(text(word))
    return shown


def environment(pairs: Dict[str, str]) -> Dict[str, Optional[str]]:
    """Return an environment with secrets as digests and None for what is of no concern to vLLM."""
    shown: Dict[str, Optional[str]] = {}
    for name, value in sorted(pairs.items()):
        if is_secret(name):
            shown[name] = digest(value) if value else ""
        else:
            shown[name] = text(value) if name.startswith(CONCERNED) else None
    return shown
