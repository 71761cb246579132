# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No secret among what is passed through: the plan is printed, and its words stand in units and process lists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .. import catalogue
from ..problems import Problem
from .kinds import Report

_SECRET = frozenset({"TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "CREDENTIALS", "APIKEY"})
# Not every key is one: MODEL_KEY, SORT_KEY.
_KEYS = frozenset({"API", "ACCESS", "SECRET", "PRIVATE", "AUTH", "ACCOUNT", "ENCRYPTION", "SIGNING"})
_IN_ADDRESS = re.compile(r"://[^/@\s]+@")
_IN_HEADER = re.compile(r"(?i)\b(bearer|basic)(\s|%20)+[^\s,;]{8}|\bauthorization\s*[=:]")
_PAIR = re.compile(r"([\w-]+)=([^\s,;]+)")
# What a model's vocabulary calls a token: <s>, [PAD].
_VOCABULARY = re.compile(r"\W.*|.{1,7}")


def secret_name(name: str) -> bool:
    """Tell whether a variable or field called ``name`` holds a secret itself, not the way to one (``TOKEN_PATH``)."""
    words = re.split(r"[^A-Z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper())
    return words[-1] in _SECRET or (words[-1] == "KEY" and bool(_KEYS & set(words[-2:-1])))


def check_secrets(values: Mapping[str, Any], report: Report) -> None:
    """Refuse secrets in ``engine.arguments``, ``engine.environment`` and ``install.index_url``."""
    engine, install = values["engine"] or {}, values["install"] or {}
    for part, owned in (("arguments", catalogue.owned_flags()), ("environment", catalogue.owned_variables())):
        for name, value in (engine.get(part) or {}).items():
            # What the plan owns is refused for that.
            kind = None if name in owned or name.replace("_", "-") in owned else _kind(name, value)
            if kind is not None:
                mend = "Put it into a file on the engine nodes that its user alone reads, and pass the path."
                report(_problem(f"vllm_cluster.engine.{part}.{name}", kind, mend))
    url = install.get("index_url")
    if url is not None and _IN_ADDRESS.search(url):
        mend = "Keep them in the pip configuration or the .netrc of the nodes."
        report(_problem("vllm_cluster.install.index_url", "an address with credentials", mend))


def _problem(path: str, kind: str, mend: str) -> Problem:
    return Problem(path, "secret-written", f"{kind} (not shown)", "no secret, because the plan is printed", mend)


def _kind(name: str, value: Any) -> str | None:
    for inner, text in _texts(name, value):
        if _IN_ADDRESS.search(text):
            return "an address with credentials"
        pairs = [(inner, text), *((match[1], match[2]) for match in _PAIR.finditer(text))]
        if _IN_HEADER.search(text) or any(map(_is_secret, *zip(*pairs, strict=True))):
            return "a secret"
    return None


def _is_secret(name: str, text: str) -> bool:
    if not secret_name(name) or text.lower() in ("true", "false"):
        return False
    return not (name.lower().endswith("token") and _VOCABULARY.fullmatch(text))


def _texts(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the texts of a value, those inside JSON too, each with the name nearest to it."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(str(key), item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(name, item)
    elif isinstance(value, str) and value:
        yield name, value
        if value.lstrip().startswith(("{", "[")):
            try:
                yield from _texts(name, json.loads(value))
            except (ValueError, RecursionError):
                # vLLM refuses it; as text it was looked at above.
                return
