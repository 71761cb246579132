# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finding the server in a list of words, however it is wrapped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..texts import Note, Text

# Programs that only mention a server.
_TALKERS = frozenset(
    {"[", "[[", "alias", "apt", "awk", "cat", "command", "echo", "egrep", "grep", "kill", "killall", "man", "pgrep"}
    | {"pip", "pip3", "pkill", "printf", "sed", "test", "type", "which"}
)
ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_MODULE = re.compile(r"vllm\.entrypoints(\.openai)?\.api_server")
_DEMO = "vllm.entrypoints.api_server"
_SCRIPT = re.compile(r"\bvllm\b|\bray\b")


@dataclass
class Launch:
    """A server found in words: what follows ``vllm serve``, and the variables set for it in front.

    ``demo`` is the word that starts vLLM's demonstration server, which knows no keys, else None.
    """

    argv: list[Text]
    environment: dict[str, Text] = field(default_factory=dict)
    demo: Text | None = None


def find_launch(words: Sequence[Text]) -> Launch | None:
    """Return the server ``words`` start, None when they start none."""
    if talks(words):
        return None
    environment: dict[str, Text] = {}
    for index, word in enumerate(words):
        rest = list(words[index + 1 :])
        if program(word) in ("vllm", "vllm.entrypoints.cli.main") and rest and rest[0] == "serve":
            return Launch(rest[1:], environment)
        if _MODULE.fullmatch(word) or word.endswith("openai/api_server.py"):
            return Launch(rest, environment, word if word == _DEMO else None)
        assigned = ASSIGNMENT.fullmatch(word)
        if assigned:
            environment[assigned[1]] = word.become(assigned[2])
        elif word in ("-O", "-OO"):
            # As good as the variable, and judged like it.
            environment["PYTHONOPTIMIZE"] = word.become("1")
    return None


def talks(words: Sequence[Text]) -> bool:
    """Tell whether ``words`` only speak of a server (``echo vllm serve``), or are none."""
    return not words or program(words[0]) in _TALKERS


def program(word: Text) -> str:
    """Return the name of the program ``word`` starts."""
    return word.rsplit("/", 1)[-1]


def inner_scripts(words: Sequence[Text]) -> Iterator[Text]:
    """Yield the words that are scripts themselves: ``sh -c "..."``, ``ssh host "..."``."""
    if talks(words):
        return
    for index, word in enumerate(words[1:], 1):
        given = re.fullmatch(r"-[a-z]*c", words[index - 1]) is not None
        if _SCRIPT.search(word) and (given or re.search(r"\s", word)) and not word.startswith(("{", "[")):
            yield word


def is_server_image(image: str) -> bool:
    """Tell whether the program an image starts by itself is ``vllm serve``."""
    name = image.split("@")[0].rsplit("/", 1)[-1].split(":")[0].lower()
    return (
        re.fullmatch(
            r"(vllm|vllm[-_.](openai|cpu|rocm|cuda|gpu|tpu|xpu|hpu|server|serve|arm64|release|env)[\w.-]*)", name
        )
        is not None
    )


def weight_cache_notes(words: Sequence[Text], where: str) -> Iterator[Note]:
    """Yield what is wrong with the weight cache ``vllm preload`` starts."""
    for index, word in enumerate(words[:-1]):
        if program(word) == "vllm" and words[index + 1] == "preload":
            for option in words[index + 2 :]:
                if option.replace("_", "-").startswith("--weight-cache-health-port"):
                    yield Note("weight-cache", option, f"{where}.preload" if where else "preload", str(option))
