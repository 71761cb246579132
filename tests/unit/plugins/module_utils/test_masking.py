# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a diff may show of files with secrets."""

from __future__ import annotations

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import masking
from hypothesis import given
from hypothesis import strategies as st

OLD, NEW = "OLD-0123456789", "NEW-0123456789"
PEM = "-----BEGIN KEY-----\nabcdefgh\n-----END KEY-----"


def test_names_and_expansion() -> None:
    template = "a @secret:x@ b @secret:tenants/acme/k1@ @secret:x@ @secret:@ secret:x"
    assert masking.names(template) == ["x", "tenants/acme/k1"]
    assert masking.expand(template, {"x": "1", "tenants/acme/k1": "2"}) == "a 1 b 2 1 @secret:@ secret:x"
    with pytest.raises(KeyError):
        masking.expand(template, {"x": "1"})


@pytest.mark.parametrize(
    ("template", "old", "before", "after"),
    [
        ("k @secret:x@;\n", None, "", "k <secret x>;\n"),
        ("k @secret:x@;\n", f"k {NEW};\n", "k <secret x>;\n", "k <secret x>;\n"),
        ("k @secret:x@;\n", f"k {OLD};\n", "k <secret x>;\n", "k <secret x changed>;\n"),
        (
            "a\nk @secret:x@\n",
            f"k={OLD}\n\n{OLD}\na\n",
            "<3 lines not shown: this file holds secrets>\na\n",
            "a\nk <secret x changed>\n",
        ),
        ("plain\n", f"plain {NEW}\n", "plain <secret x>\n", "plain\n"),
    ],
)
def test_shown(template: str, old: str | None, before: str, after: str) -> None:
    assert masking.shown(template, old, {"x": NEW}) == (before, after)


def test_a_value_of_several_lines() -> None:
    secrets = {"pem": PEM}
    assert masking.shown("a\n@secret:pem@\n", f"{PEM}\n", secrets)[1] == "a\n<secret pem>\n"
    before, after = masking.shown("@secret:pem@\n", f"{PEM.replace('abc', 'old')}\n", secrets)
    assert "oldd" not in before
    assert after == "<secret pem changed>\n"


def test_a_hidden_content() -> None:
    assert masking.shown("@secret:x@", None, {"x": NEW}, True) == ("", "<secret content>\n")
    assert masking.shown("@secret:x@", OLD, {"x": NEW}, True) == ("<secret content>\n", "<secret content changed>\n")


def test_longer_values_are_masked_first() -> None:
    assert masking.mask("abcdef abc", {"short": "abc", "long": "abcdef"}) == "<secret long> <secret short>"


lines = st.lists(st.text(alphabet="ab@:;= \"'", max_size=8), max_size=6)


@given(before=lines, after=lines, old_line=st.sampled_from(["k {}", "{}", "key={};", "x {} y"]))
def test_neither_the_old_nor_the_new_value_is_ever_shown(before: list[str], after: list[str], old_line: str) -> None:
    old = "\n".join([*before, old_line.format(OLD), *after]) + "\n"
    template = "\n".join([*after, "k @secret:x@", *before]) + "\n"
    for text in masking.shown(template, old, {"x": NEW}):
        assert OLD not in text
        assert NEW not in text
