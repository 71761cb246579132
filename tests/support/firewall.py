# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules the module firewall makes of a plan, without a host; and a reader of rules that shares no code with it."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.hardened.vllm.plugins.module_utils import firewall_policy, firewall_rules

ENGINE_UID, MEDIA_UID = 997, 996
TOKEN = re.compile(
    r'(?P<blank>[ \t]+|#[^\n]*)|(?P<end>[\n;])|(?P<word>"[ !#-\[\]-~]{0,127}"|[A-Za-z0-9_@!=&+,.:/-]+|[{}])'
)


def policy_of(given_plan: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return policy and callers of ``{"cluster": plan, "host": plan of one host}``, as the role isolation passes them on."""
    host = given_plan["host"]
    egress, media = host["egress"], host["media"]
    calls = [*(egress["rules"] if egress else []), *(media["rules"] if media else [])]
    callers: dict[str, Any] = {}
    if egress:
        callers["engine"] = {"uid": ENGINE_UID, "own_ports": egress["own_ports"]}
    if media:
        callers["media"] = {"uid": MEDIA_UID}
    policy = firewall_policy.checked(
        host["listeners"], given_plan["cluster"]["sets"], calls, host["interfaces"].get("fabric")
    )
    return policy, firewall_policy.checked_callers(callers, policy)


def rules_of(given_plan: dict[str, Any]) -> firewall_rules.Rules:
    """Return the rendered rules of such a plan."""
    return firewall_rules.render(*policy_of(given_plan), 10, 20)


def render(given_plan: dict[str, Any]) -> str:
    """Return the text of the rules of such a plan."""
    return rules_of(given_plan).text()


@functools.cache
def nft_is_usable() -> bool:
    """Whether rules can be loaded into a network namespace of their own: nft, unshare and the rights are here."""
    if not (shutil.which("nft") and shutil.which("unshare")):
        return False
    return (
        subprocess.run(["unshare", "--net", "nft", "list", "tables"], capture_output=True, check=False).returncode == 0
    )


@dataclass
class Table:
    """What a text says: rules by chain, declarations by set, elements by set."""

    chains: dict[str, list[str]] = field(default_factory=dict)
    sets: dict[str, list[str]] = field(default_factory=dict)
    elements: dict[str, list[str]] = field(default_factory=dict)

    def targets(self, chain: str, protocol: str) -> dict[str, str]:
        """Return the verdict map of a chain for a protocol: ports to the chain they lead to."""
        for rule in self.chains[chain]:
            found = re.fullmatch(rf"{protocol} dport vmap {{ (.*) }}", rule)
            if found:
                return dict(part.split(" : jump ") for part in found.group(1).split(", "))
        return {}


def _statements(text: str) -> list[list[str]]:
    """Words of each statement, blocks as nested braces within them; ValueError for what no statement of ours holds."""
    found: list[list[str]] = []
    words: list[str] = []
    depth = place = 0
    while place < len(text):
        match = TOKEN.match(text, place)
        if match is None:
            raise ValueError(f"the character {text[place]!r} has no place in the rules")
        place = match.end()
        word = match.group()
        depth += {"{": 1, "}": -1}.get(word, 0)
        if match.lastgroup == "word":
            words.append(word)
        elif match.lastgroup == "end" and depth:
            words.append(";")
        elif match.lastgroup == "end" and words:
            found.append(words)
            words = []
        if depth < 0:
            raise ValueError("a closing brace without an opening one")
    if depth or words:
        raise ValueError("the text ends within a statement")
    return found


def _blocks(words: list[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield kind, name and lines of each chain and set of the table."""
    block: list[str] = []
    depth = 0
    for word in words:
        if depth == 0 and word == ";":
            continue
        block.append(word)
        depth += {"{": 1, "}": -1}.get(word, 0)
        if depth == 0 and word == "}":
            if block[0] not in ("chain", "set") or block[2] != "{":
                raise ValueError(f"neither a chain nor a set: {block}")
            lines = [line.strip(" ;") for line in " ".join(block[3:-1]).split(" ;")]
            yield block[0], block[1], [line for line in lines if line]
            block = []
    if block:
        raise ValueError(f"something beside the chains and sets: {block}")


def read(text: str) -> Table:
    """Return what a text does to our table; ValueError when it does anything else."""
    own = ["inet", "hardened_vllm"]
    statements = _statements(text)
    if statements[:2] != [["table", *own], ["delete", "table", *own]] or statements[2][:4] != ["table", *own, "{"]:
        raise ValueError(f"expected our table named, deleted and defined: {statements[:3]}")
    table = Table()
    for kind, name, lines in _blocks(statements[2][4:-1]):
        (table.chains if kind == "chain" else table.sets)[name] = lines
    for words in statements[3:]:
        if words[:2] != ["add", "element"] or words[2:4] != own or words[5] != "{" or words[-1] != "}":
            raise ValueError(f"other than an element for a set of ours: {words}")
        table.elements[words[4]] = [entry.strip() for entry in " ".join(words[6:-1]).split(",")]
    return table
