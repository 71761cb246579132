#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module hardened.vllm.secrets."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: secrets
short_description: Make the secrets of a cluster that do not exist yet
version_added: 0.1.0
author: hardened.vllm maintainers (@hardened-vllm)
description:
  - Makes a random key of 256 bits in hexadecimal digits for every file that does not exist, with mode 0600 in directories of mode 0700.
  - No key starts with a dash, which a parser of options would take for another option.
  - Meant for the controller (C(delegate_to) localhost). Existing files are never written.
  - Refuses an existing file that is empty, too short or readable by others.
options:
  files:
    description: Absolute paths of the files.
    type: list
    elements: path
    required: true
notes:
  - Keys themselves are never returned.
attributes:
  check_mode:
    description: Says which files it would make.
    support: full
"""

EXAMPLES = r"""
- name: Make what is missing
  hardened.vllm.secrets:
    files: "{{ plan.secrets | map(attribute='file') }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
made:
  description: Files that were made, or would be in check mode.
  type: list
  elements: str
  returned: success
"""

import os
import stat

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hardened.vllm.plugins.module_utils import keys

LEAST = 32


def problem_of(path):
    """Return what is wrong with an existing secret file, or None."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        return f"{path} is not a regular file: name a file, or remove it and let one be made"
    if status.st_mode & 0o077:
        return f"{path} has mode {stat.S_IMODE(status.st_mode):04o}, others may read it: run chmod 0600 {path}"
    with open(path, "rb") as handle:
        content = handle.read().strip()
    if content.startswith(b"$ANSIBLE_VAULT;"):
        return None
    if len(content) < LEAST:
        return (
            f"{path} holds {len(content)} characters, expected at least {LEAST}: remove it and a key will be made, "
            "or write a longer one into it"
        )
    return None


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"files": {"type": "list", "elements": "path", "required": True, "no_log": False}},
        supports_check_mode=True,
    )
    paths = sorted(set(module.params["files"]))
    relative = [path for path in paths if not os.path.isabs(path)]
    if relative:
        module.fail_json(msg=f"expected absolute paths, found {', '.join(relative)}: set secrets_directory to one")
    try:
        problems = [problem for problem in map(problem_of, filter(os.path.exists, paths)) if problem]
        missing = [path for path in paths if not os.path.exists(path)]
        if problems:
            module.fail_json(msg="; ".join(problems))
        if not module.check_mode:
            for path in missing:
                keys.write(path, keys.fresh())
    except OSError as error:
        module.fail_json(msg=f"cannot make or read the secrets on the controller: {error}")
    module.exit_json(changed=bool(missing), made=missing)


if __name__ == "__main__":
    main()
