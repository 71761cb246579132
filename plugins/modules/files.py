#!/usr/bin/python
# Copyright (c) 2026 hardened.vllm maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module hardened.vllm.files."""

from __future__ import annotations

DOCUMENTATION = r"""
module: files
short_description: Put a batch of files in place, all of them or none
version_added: "0.1.0"
author:
  - hardened.vllm maintainers (@hardened-vllm)
description:
  - Brings directories and files to the wanted state in one remote execution, lets programs check the result,
    then makes it take effect. When any step fails, everything is put back as it was.
  - Each file is written beside its target, synced and renamed over it, so that a reader sees the old file or the new
    one and never a part. A symbolic link at a target is replaced, never followed. No backup files are made.
  - Secrets are given apart from the contents and appear neither in the diff nor in messages. In the diff of a file that
    holds secrets, lines of the old file that the new content does not account for are counted, not shown.
  - A run that was killed between writing and applying is finished by the next one, even when no file differs any more.
options:
  directories:
    description:
      - Directories that must exist. The parent of each must exist or stand earlier in the list.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: str
        required: true
      mode:
        description: Octal mode as a quoted string with a leading zero.
        type: str
        default: "0755"
      owner:
        description: Name or number of the owner.
        type: str
        default: root
      group:
        description: Name or number of the group.
        type: str
        default: root
  files:
    description:
      - Files with their whole content.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: str
        required: true
      content:
        description:
          - The content, written as UTF-8. Every C(@secret:NAME@) is replaced by that member of O(secrets).
        type: str
        required: true
      mode:
        description:
          - Octal mode as a quoted string with a leading zero.
          - A file that holds a secret must give others no access.
        type: str
        default: "0644"
      owner:
        description: Name or number of the owner.
        type: str
        default: root
      group:
        description: Name or number of the group.
        type: str
        default: root
      secret:
        description:
          - Hide the whole content in the diff instead of the secret parts only.
          - The content must come from O(secrets), because the contents given here are logged on the node.
        type: bool
        default: false
  absent:
    description:
      - Paths that must not exist, removed in this order after the files are written. A directory must be empty by then.
    type: list
    elements: str
    default: []
  secrets:
    description:
      - Values for C(@secret:NAME@), by name.
    type: dict
    default: {}
  check:
    description:
      - Programs that judge the new files before anything takes effect. They run only when something changed.
      - The first one that does not end with status 0 puts everything back.
    type: list
    elements: dict
    default: []
    suboptions:
      argv:
        description: The program and its arguments, run without a shell.
        type: list
        elements: str
        required: true
      timeout_seconds:
        description: After this time the program is killed and counts as failed.
        type: int
        default: 60
  apply:
    description:
      - Programs that make the new files take effect, run after O(check) and only when something changed.
      - When one fails, everything is put back and the same programs run once more for the old state.
    type: list
    elements: dict
    default: []
    suboptions:
      argv:
        description: The program and its arguments, run without a shell.
        type: list
        elements: str
        required: true
      timeout_seconds:
        description: After this time the program is killed and counts as failed.
        type: int
        default: 300
      paths:
        description:
          - Run this program only when one of these paths, or something below one of them, changed.
          - An empty list means any change.
        type: list
        elements: str
        default: []
  state_directory:
    description:
      - Where a run notes that it is under way, so that the next one can finish what a killed one began.
      - Made with mode 0700 when it is missing, which does not count as a change.
    type: path
    default: /var/lib/hardened-vllm
attributes:
  check_mode:
    description: Reports what would change and touches nothing. O(check) and O(apply) do not run.
    support: full
  diff_mode:
    description: Shows contents, modes and owners before and after, with secrets masked.
    support: full
"""

EXAMPLES = r"""
- name: Deliver a configuration with a key in it, checked by its own program
  hardened.vllm.files:
    directories:
      - {path: /etc/example, mode: "0750"}
    files:
      - path: /etc/example/server.conf
        mode: "0600"
        content: |
          listen 192.0.2.10
          key @secret:upstream@
    absent:
      - /etc/example/old.conf
    secrets:
      upstream: "{{ lookup('ansible.builtin.file', '/controller/secrets/upstream.key') }}"
    check:
      - argv: [example-server, --check, /etc/example/server.conf]
    apply:
      - argv: [systemctl, reload, example-server.service]
"""

RETURN = r"""
changed_paths:
  description: Paths whose content, kind, mode or owner changed or would change, in the order of the change.
  returned: always
  type: list
  elements: str
  sample: ["/etc/example/server.conf"]
restored:
  description: Whether everything was put back after a failure.
  returned: always
  type: bool
resumed:
  description: Whether an earlier run with the same programs was killed before it ended, so that they ran again.
  returned: success
  type: bool
"""

import contextlib

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hardened.vllm.plugins.module_utils import batch, files, interruption


def program(timeout):
    """Return the options of one program that is run."""
    return {
        "argv": {"type": "list", "elements": "str", "required": True},
        "timeout_seconds": {"type": "int", "default": timeout},
    }


def entry(mode, **more):
    """Return the options of one path."""
    return {
        "path": {"type": "str", "required": True},
        "mode": {"type": "str", "default": mode},
        "owner": {"type": "str", "default": "root"},
        "group": {"type": "str", "default": "root"},
        **more,
    }


def argument_spec():
    """Return the module's options."""
    content = {"type": "str", "required": True}
    secret = {"type": "bool", "default": False, "no_log": False}
    paths = {"type": "list", "elements": "str", "default": []}
    return {
        "directories": {"type": "list", "elements": "dict", "default": [], "options": entry("0755")},
        "files": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": entry("0644", content=content, secret=secret),
        },
        "absent": {"type": "list", "elements": "str", "default": []},
        "secrets": {"type": "dict", "default": {}, "no_log": True},
        "check": {"type": "list", "elements": "dict", "default": [], "options": program(60)},
        "apply": {"type": "list", "elements": "dict", "default": [], "options": {**program(300), "paths": paths}},
        "state_directory": {"type": "path", "default": "/var/lib/hardened-vllm"},
    }


def bring_about(module):
    """Bring the batch about, or in check mode say what it would change. Return the module's result."""
    wanted = batch.Batch(module.params, lenient=module.check_mode)
    changes = wanted.changes()
    resumed = wanted.unfinished()
    result = {
        "changed": bool(changes) or resumed,
        "changed_paths": [change.path for change in changes],
        "restored": False,
        "resumed": resumed,
    }
    if module._diff:
        result["diff"] = [part for change in changes for part in wanted.diff(change)]
    if not module.check_mode:
        wanted.carry_out(changes)
    return result


def main():
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    interruption.raise_on_signals(files.FileProblem)
    try:
        with contextlib.nullcontext() if module.check_mode else files.exclusive():
            result = bring_about(module)
    except batch.Failed as failure:
        module.fail_json(msg=str(failure), changed_paths=failure.paths, restored=failure.restored)
    except files.FileProblem as problem:
        module.fail_json(msg=str(problem), changed_paths=[], restored=False)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
