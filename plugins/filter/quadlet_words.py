# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: quadlet_words
short_description: Write words for Exec= or Environment= of a Quadlet
version_added: "0.1.0"
author:
  - hardened.vllm maintainers (@hardened-vllm)
description:
  - Quotes a list of words so that podman's generator and systemd hand on exactly these words to the container.
  - Specifiers such as C(%i), variables such as C($HOME), quotes, backslashes, spaces, newlines and empty words
    all arrive as they were given.
positional: _input
options:
  _input:
    description: Words of a command, or assignments such as C(NAME=value).
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Give a container a variable with a dollar sign
  ansible.builtin.debug:
    msg: "Environment={{ ['PRICE=5 $'] | hardened.vllm.quadlet_words }}"
"""

RETURN = r"""
_value:
  description: The value of Exec= or Environment=.
  type: str
  sample: '"PRICE=5 $$"'
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.hardened.vllm.plugins.plugin_utils import systemd


def quadlet_words(words):
    """Words to the value of Exec= or Environment=."""
    if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) for word in words):
        raise AnsibleFilterError(f"hardened.vllm.quadlet_words: expected a list of texts, found {words!r}")
    try:
        return systemd.quadlet_words(words)
    except ValueError as problem:
        raise AnsibleFilterError(f"hardened.vllm.quadlet_words: {problem}") from problem


class FilterModule:
    def filters(self):
        return {"quadlet_words": quadlet_words}
