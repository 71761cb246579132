# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: requirements_lock
short_description: Read a requirements file in which every package is pinned by hash
version_added: "0.1.0"
author:
  - hardened.vllm maintainers (@hardened-vllm)
description:
  - Takes the text of a lock, as C(pip-compile --generate-hashes), C(uv pip compile --generate-hashes) or this collection's
    playbook C(bundle) write it, and returns its lines for pip.
  - Anything but exact pins with SHA-256 hashes is an error, as is a lock without the expected release.
positional: _input, package, release
options:
  _input:
    description: The text of the lock.
    type: str
    required: true
  package:
    description: Distribution that must be in it.
    type: str
    required: true
  release:
    description: Release it must be pinned at. A local part such as C(+cpu) does not matter.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show what would be installed
  ansible.builtin.debug:
    msg: "{{ lookup('ansible.builtin.file', 'requirements.lock') | hardened.vllm.requirements_lock('vllm', '0.32.0') }}"
"""

RETURN = r"""
_value:
  description: One line per package.
  type: list
  elements: str
  sample: ["vllm==0.32.0 --hash=sha256:0f1e..."]
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.hardened.vllm.plugins.plugin_utils import lock


def requirements_lock(text, package, release):
    """Text of a lock to requirement lines."""
    for value, what in ((text, "the lock"), (package, "package"), (release, "release")):
        if not isinstance(value, str):
            raise AnsibleFilterError(f"hardened.vllm.requirements_lock: {what} must be a text, found {value!r}")
    try:
        return lock.read(text, package, release)
    except lock.LockError as problem:
        raise AnsibleFilterError(f"hardened.vllm.requirements_lock: {problem}") from problem


class FilterModule:
    def filters(self):
        return {"requirements_lock": requirements_lock}
