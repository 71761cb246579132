# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils import systemd
from hypothesis import given
from hypothesis import strategies as st

PRINTABLE = st.text(st.characters(blacklist_categories=("Cc", "Cs")), max_size=30)


def unquote(text: str) -> str:
    """Read one quoted word as systemd.service(5) and systemd.unit(5) describe it: escapes first, specifiers after."""
    if text.startswith('"'):
        assert text.endswith('"')
        text = re.sub(r"\\(.)", lambda match: {"n": "\n", "t": "\t"}.get(match[1], match[1]), text[1:-1])
    assert not re.search(r"(?<!%)(?:%%)*%(?!%)", text), "a lone percent sign starts a specifier"
    return text.replace("%%", "%")


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--port", "--port"),
        ("", '""'),
        ("two words", '"two words"'),
        ("100%", '"100%%"'),
        ("$HOME", '"$HOME"'),
        ('{"a": 1}', '"{\\"a\\": 1}"'),
        ("back\\slash", '"back\\\\slash"'),
        ("it's", '"it\'s"'),
        (";", '";"'),
        ("line\nbreak\t", '"line\\nbreak\\t"'),
        ("#no comment", '"#no comment"'),
        ("tést", '"tést"'),
    ],
)
def test_an_argument_is_quoted(argument: str, expected: str) -> None:
    assert systemd.quote_argument(argument) == expected


@given(PRINTABLE)
def test_a_quoted_argument_reads_back(argument: str) -> None:
    assert unquote(systemd.quote_argument(argument)) == argument


def test_a_command_line_expands_no_variables() -> None:
    assert systemd.command_line(["/usr/bin/env", "${HOME}", "a b"]) == ':/usr/bin/env "${HOME}" "a b"'


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "argv is empty; expected a program followed by its arguments"),
        (["python3"], "program 'python3' cannot start a systemd unit; expected an absolute path"),
        (["-/usr/bin/env"], "program '-/usr/bin/env' cannot start"),
        (["/opt/a b/python"], "program '/opt/a b/python' cannot start"),
        (["/usr/bin/env", "a\x00b"], "holds the control character '\\x00'"),
        (["/usr/bin/env", "a\rb"], "holds the control character '\\r'"),
    ],
)
def test_a_command_line_that_cannot_be_written_is_refused(argv: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        systemd.command_line(argv)


def test_an_environment_file_is_sorted_and_quoted() -> None:
    environment = {"NCCL_SOCKET_IFNAME": "=eth0", "EMPTY": "", "QUOTES": 'a "b" `c` $d \\e'}
    assert systemd.environment_file(environment) == (
        'EMPTY=""\nNCCL_SOCKET_IFNAME="=eth0"\nQUOTES="a \\"b\\" \\`c\\` \\$d \\\\e"\n'
    )


@pytest.mark.parametrize(("name", "value"), [("1ST", "x"), ("A-B", "x"), ("A", "x\ny"), ("", "x")])
def test_an_environment_that_cannot_be_written_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="environment variable"):
        systemd.environment_file({name: value})


def test_devices_become_rules() -> None:
    assert systemd.device_rules(["/dev/kfd", "char-nvidia*"]) == ["/dev/kfd rw", "char-nvidia* rw"]


@pytest.mark.parametrize("device", ["/dev/nvidia*", "nvidia0", "/dev/a b", "char-"])
def test_devices_that_would_match_nothing_are_refused(device: str) -> None:
    with pytest.raises(ValueError, match="is nothing systemd can allow"):
        systemd.device_rules([device])


@given(st.lists(PRINTABLE, max_size=4))
def test_words_of_a_quadlet_arrive_as_they_were_given(words: list[str]) -> None:
    text = systemd.quadlet_words(words)
    assert not re.search(r"(?<!\$)(?:\$\$)*\$(?!\$)", text), "a lone dollar sign starts a variable"
    parts = re.findall(r'"(?:\\.|[^"\\])*"|[^ ]+', text)
    assert [unquote(part).replace("$$", "$") for part in parts] == words
