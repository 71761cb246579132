# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Speaks with vLLM's own API on the node: one-token completions, token counters of its ranks, and how it judges a text."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
from dataclasses import dataclass

LARGEST_ANSWER = 8 * 1024 * 1024
_COUNTER = re.compile(r"vllm:generation_tokens_total\{(?P<labels>[^}]*)\} (?P<value>\S+)")
_ENGINE = re.compile(r'(?:^|,)engine="(\d+)"')
_KEY_LINE = re.compile(r"api-key:\s*(\S.*)")

# More than one token for any tokenizer: the worker of vLLM 0.32.0 ends by SIGILL, on a processor with AMX, when the first request it gets is a single token.
PROMPT = "Hello, who is there?"
# Plain words that every model has seen; long enough that one odd token does not decide, short enough for any context.
SAMPLE = "The sun rises in the east and sets in the west. Water boils at one hundred degrees, and one and one are two."


class KeyFileError(Exception):
    """The file with the key cannot serve. The text is for the user and does not hold the key."""


# The option ``api`` of modules.
API = {
    "type": "dict",
    "options": {"address": {"type": "str"}, "port": {"type": "int"}, "socket": {"type": "path"}},
    "required_together": [("address", "port")],
    "required_one_of": [("address", "socket")],
    "mutually_exclusive": [("address", "socket")],
}


@dataclass(frozen=True)
class Answer:
    """``tokens`` generated (0 when none), HTTP ``status`` (None: no answer) and a short ``text`` about a failure."""

    tokens: int
    status: int | None
    text: str


def read_keys(path):
    """Return the upstream keys (list of str, at least one) in vLLM's configuration file ``path``, the value of api-key there.

    There are two while one takes the other's place; the engine takes both.
    """
    try:
        with open(path, encoding="utf-8") as handle:
            lines = handle.read().splitlines()
    except OSError as error:
        raise KeyFileError("%s: the file with the API key cannot be read: %s" % (path, error.strerror)) from None
    for line in lines:
        match = _KEY_LINE.fullmatch(line)
        if match:
            with contextlib.suppress(ValueError):
                value = json.loads(match[1])
                keys = value if isinstance(value, list) else [value]
                if keys and all(isinstance(key, str) for key in keys):
                    return keys
            break
    raise KeyFileError('%s: no line of the form  api-key: "..."  is in it; let the role engine write it again' % path)


def generate(api, model, key, rank=None, timeout=60.0, tls=None):
    """Let the engine generate one token, on the data-parallel ``rank`` where one is given. Returns an Answer.

    ``api`` and ``tls`` (None for plain HTTP): what the module engine_ready documents.
    """
    asked = {"model": model, "prompt": PROMPT, "max_tokens": 1, "temperature": 0}
    try:
        status, content = _complete(api, asked, key, rank, timeout, tls)
    except (OSError, http.client.HTTPException) as error:
        return Answer(0, None, "%s: %s" % (type(error).__name__, error))
    if status != 200:
        return Answer(0, status, content[:500].decode("utf-8", "backslashreplace"))
    try:
        answer = json.loads(content)
        tokens = int(answer["usage"]["completion_tokens"]) if answer["choices"] else 0
    except (ValueError, LookupError, TypeError):
        return Answer(0, status, "an answer that is no completion: %r" % content[:200])
    return Answer(tokens, status, "" if tokens else "an answer without a token")


def likelihood(api, model, key, rank=None, timeout=60.0, tls=None):
    """Return (list of float, why it is empty): how likely each token of SAMPLE is after those before it, as logarithms.

    A figure of the weights and the code that runs them, not of chance.
    """
    asked = {"model": model, "prompt": SAMPLE, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
    try:
        status, content = _complete(api, asked, key, rank, timeout, tls)
    except (OSError, http.client.HTTPException) as error:
        return [], "%s: %s" % (type(error).__name__, error)
    if status != 200:
        return [], "HTTP status %d, %s" % (status, content[:500].decode("utf-8", "backslashreplace"))
    try:
        # The first token follows none, and has null.
        tokens = json.loads(content)["choices"][0]["prompt_logprobs"][1:]
        found = [float(next(iter(token.values()))["logprob"]) for token in tokens]
    except (ValueError, LookupError, TypeError, AttributeError, StopIteration):
        return [], "an answer without prompt_logprobs: %r" % content[:200]
    return found, "" if found else "an answer without tokens"


def tokens_by_rank(api, timeout=10.0, tls=None):
    """Tokens generated since the start, {rank: count}, from the engine label of vLLM's metrics; empty if unreadable."""
    try:
        status, content = _exchange(api, "GET", "/metrics", None, {}, timeout, tls)
    except (OSError, http.client.HTTPException):
        return {}
    counts = {}
    if status == 200:
        for match in _COUNTER.finditer(content.decode("utf-8", "replace")):
            engine = _ENGINE.search(match["labels"])
            if engine:
                counts[int(engine[1])] = counts.get(int(engine[1]), 0) + int(float(match["value"]))
    return counts


def _complete(api, asked, key, rank, timeout, tls):
    """Ask for the completion ``asked`` (dict), on the data-parallel ``rank`` unless it is None. Returns (status, body)."""
    headers = {"Authorization": "Bearer " + key, "Content-Type": "application/json"}
    if rank is not None:
        headers["X-data-parallel-rank"] = str(rank)
    return _exchange(api, "POST", "/v1/completions", json.dumps(asked), headers, timeout, tls)


def _exchange(api, method, path, body, headers, timeout, tls):
    with contextlib.closing(
        http.client.HTTPConnection(api.get("address") or "localhost", api.get("port"))
    ) as connection:
        plain = _connected(api, timeout)
        connection.sock = _wrapped(plain, tls) if tls else plain
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read(LARGEST_ANSWER)


def _connected(api, timeout):
    """Return a connection to the API's socket, or else to its address and port. OSError when nobody listens."""
    if not api.get("socket"):
        return socket.create_connection((api["address"], api["port"]), timeout)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(timeout)
        connection.connect(api["socket"])
    except BaseException:
        connection.close()
        raise
    return connection


def _wrapped(plain, tls):
    """Return TLS on the connection ``plain``, which the authority's own certificates alone are good for. OSError otherwise."""
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(tls["authority"])
        if tls["client"]:
            context.load_cert_chain(tls["client"])
        # The name is the one in the certificate; the engine is reached by its address.
        return context.wrap_socket(plain, server_hostname=tls["name"])
    except BaseException:
        plain.close()
        raise
