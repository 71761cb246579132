# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reader of rules lets our own table through and nothing else."""

from __future__ import annotations

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils.firewall_common import (
    PROLOGUE,
    FirewallProblem,
    admit_operator,
    check,
)

TABLE = "table inet hardened_vllm {\n  set operator_v4 { type ipv4_addr . inet_service; }\n}\n"


def test_our_own_table_passes_with_remarks_and_blank_lines() -> None:
    check("#!/usr/sbin/nft -f\n# a remark; with { odd } things\n\n" + PROLOGUE + "\n" + TABLE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "flush ruleset\n",
        TABLE,
        PROLOGUE,
        PROLOGUE + TABLE + TABLE,
        PROLOGUE + TABLE + "flush ruleset\n",
        PROLOGUE + TABLE.rstrip() + " flush ruleset\n",
        PROLOGUE + TABLE + "table inet filter { }\n",
        PROLOGUE + TABLE + "delete table ip nat\n",
        PROLOGUE + TABLE + "add rule inet filter input accept\n",
        PROLOGUE + TABLE + 'include "/etc/other.nft"\n',
        PROLOGUE + TABLE + "define x = 1\n",
        PROLOGUE.replace("inet", "ip") + TABLE,
        PROLOGUE.replace("hardened_vllm", "hardened_vllm2") + TABLE,
        "destroy table inet hardened_vllm\n" + TABLE,
    ],
)
def test_whatever_reaches_beyond_our_table_is_refused(text: str) -> None:
    with pytest.raises(FirewallProblem, match=r"expected exactly three statements|only the table inet hardened_vllm"):
        check(text)


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        ('include "/etc/other.nft"', "the statement include is not allowed"),
        ("define x = 1", "the statement define is not allowed"),
        ("flags dormant", "a dormant table filters nothing"),
        ("chain a { } ; flush ruleset", "the statement flush is not allowed"),
        ("tcp dport $port accept", r"found the character '\$'"),
        ("a \\\n b", r"found the character '\\\\'"),
        ("comment 'x'", "found the character"),
        ('comment "x\x07"', "plain printable ASCII"),
        ('comment "ä"', "plain printable ASCII"),
        ('comment "' + "x" * 128 + '"', "longer than 127 characters"),
        ('comment "x', "found the character"),
        ("# bell \x07", "a remark holds control characters"),
        ("}", "a closing brace without an opening one"),
        ("{", "1 braces are never closed"),
    ],
)
def test_what_has_no_place_inside_the_table_is_refused(inside: str, message: str) -> None:
    with pytest.raises(FirewallProblem, match=message):
        check(PROLOGUE + "table inet hardened_vllm {\n" + inside + "\n}\n")


def test_the_line_of_the_mistake_is_named() -> None:
    with pytest.raises(FirewallProblem, match="rules, line 5: "):
        check(PROLOGUE + "table inet hardened_vllm {\n\n $\n}\n")


def test_the_operator_is_put_into_the_set_of_its_family() -> None:
    text = admit_operator(PROLOGUE + TABLE, {"address": "198.51.100.7", "port": 2222})
    assert text.endswith("\nadd element inet hardened_vllm operator_v4 { 198.51.100.7 . 2222 }\n")
    assert admit_operator(TABLE, None) == TABLE


def test_rules_without_the_operator_set_are_refused() -> None:
    with pytest.raises(FirewallProblem, match="the set operator_v6 for the live connection is missing"):
        admit_operator(PROLOGUE + TABLE, {"address": "2001:db8::7", "port": 22})
