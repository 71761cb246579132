# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: systemd_argv
short_description: Write a command line for ExecStart= of a systemd unit
version_added: "0.1.0"
author:
  - hardened.vllm maintainers (@hardened-vllm)
description:
  - Quotes a list of words so that systemd starts the program with exactly these words.
  - Specifiers such as C(%i), variables such as C($HOME), quotes, backslashes, spaces, newlines and empty words
    all arrive as they were given. Variables are kept by the prefix C(:), which needs systemd 244.
positional: _input
options:
  _input:
    description: The program as an absolute path, followed by its arguments.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Start a program with an argument that holds a space and a percent sign
  ansible.builtin.debug:
    msg: "ExecStart={{ ['/usr/bin/printf', '%s\\n', 'two words'] | hardened.vllm.systemd_argv }}"
"""

RETURN = r"""
_value:
  description: The value of ExecStart=.
  type: str
  sample: ':/usr/bin/printf "%%s\\n" "two words"'
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.hardened.vllm.plugins.plugin_utils import systemd


def systemd_argv(argv):
    """Words of a command line to the value of ExecStart=."""
    if not isinstance(argv, (list, tuple)) or not all(isinstance(word, str) for word in argv):
        raise AnsibleFilterError(f"hardened.vllm.systemd_argv: expected a list of texts, found {argv!r}")
    try:
        return systemd.command_line(argv)
    except ValueError as problem:
        raise AnsibleFilterError(f"hardened.vllm.systemd_argv: {problem}") from problem


class FilterModule:
    def filters(self):
        return {"systemd_argv": systemd_argv}
