# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads nftables text far enough to be sure that it touches our own table and nothing else."""

from __future__ import annotations

import re

FAMILY = "inet"
TABLE = "hardened_vllm"
PROLOGUE = "table %s %s\ndelete table %s %s\n" % (FAMILY, TABLE, FAMILY, TABLE)

# Words that reach beyond the table, load other files, bring text in by name, or switch the table off.
FORBIDDEN = (
    "include",
    "define",
    "redefine",
    "undefine",
    "flush",
    "delete",
    "destroy",
    "reset",
    "replace",
    "add",
    "insert",
    "create",
    "rename",
    "list",
    "import",
    "export",
    "monitor",
    "dormant",
)
TOKEN = re.compile(
    r"""(?P<blank>[ \t]+) | (?P<end>[\n;]) | (?P<remark>\#[^\n]*) | (?P<string>"[^"\n]*") | (?P<open>\{) | (?P<close>\})
    | (?P<word>[A-Za-z0-9_@!<>=&|^~*+,.:/()-]+)""",
    re.VERBOSE,
)
STRING = re.compile(r'"[ !#-\[\]-~]{0,127}"')


class FirewallProblem(Exception):
    """The firewall cannot be what was asked for. The text is for the user."""


def _tokens(text):
    """(line number, kind, text) of every token but blanks and remarks."""
    place, line = 0, 1
    while place < len(text):
        match = TOKEN.match(text, place)
        if match is None:
            raise FirewallProblem(
                "rules, line %d: found the character %r, which has no place in a rule set; a name or comment of the "
                "declaration may hold it" % (line, text[place])
            )
        kind = match.lastgroup
        if kind == "string" and not STRING.fullmatch(match.group()):
            raise FirewallProblem(
                "rules, line %d: the text %s is longer than 127 characters or holds other than plain printable ASCII"
                % (line, ascii(match.group()))
            )
        if kind == "remark" and not match.group().isprintable():
            raise FirewallProblem("rules, line %d: a remark holds control characters" % line)
        if kind not in ("blank", "remark"):
            yield line, kind, match.group()
        line += match.group().count("\n")
        place = match.end()


def check(text):
    """Raise FirewallProblem unless `text` is exactly: our table named, deleted and defined anew, in this order.

    With the first two statements loading the text again is one atomic replacement, whatever was there before.
    """
    statements = []
    current = []
    depth = 0
    first = True
    for line, kind, word in _tokens(text):
        if depth and kind == "word" and first and word in FORBIDDEN:
            raise FirewallProblem("rules, line %d: the statement %s is not allowed inside the table" % (line, word))
        first = kind in ("end", "open", "close")
        if kind == "open":
            depth += 1
            if depth == 1:
                current.append((line, word))
        elif kind == "close":
            depth -= 1
            if depth < 0:
                raise FirewallProblem("rules, line %d: a closing brace without an opening one" % line)
        elif depth == 0 and kind == "end":
            if current:
                statements.append(current)
            current = []
        elif depth == 0:
            current.append((line, word))
        elif word == "dormant":
            raise FirewallProblem("rules, line %d: a dormant table filters nothing" % line)
    if depth:
        raise FirewallProblem("rules: %d braces are never closed" % depth)
    if current:
        statements.append(current)
    _check_statements(statements)


def _check_statements(statements):
    own = [FAMILY, TABLE]
    expected = [["table", *own], ["delete", "table", *own], ["table", *own, "{"]]
    for statement in statements:
        words = [word for _line, word in statement]
        if words not in expected:
            raise FirewallProblem(
                "rules, line %d: found the statement `%s`, but only the table %s %s may be touched: `table %s %s`, "
                "`delete table %s %s`, then its definition"
                % (statement[0][0], " ".join(words), FAMILY, TABLE, FAMILY, TABLE, FAMILY, TABLE)
            )
    if [[word for _line, word in statement] for statement in statements] != expected:
        raise FirewallProblem(
            "rules: expected exactly three statements, `table %s %s`, `delete table %s %s` and the table's "
            "definition; found %d" % (FAMILY, TABLE, FAMILY, TABLE, len(statements))
        )


def admit_operator(text, operator):
    """Return `text` with the live operator ({address, port}) put into the set of its family; unchanged for None."""
    if operator is None:
        return text
    name = "operator_v6" if ":" in operator["address"] else "operator_v4"
    if not re.search(r"(?m)^\s*set %s \{" % name, text):
        raise FirewallProblem(
            "rules: the set %s for the live connection is missing; define it or set keep_operator: false" % name
        )
    return "%sadd element %s %s %s { %s . %d }\n" % (text, FAMILY, TABLE, name, operator["address"], operator["port"])
