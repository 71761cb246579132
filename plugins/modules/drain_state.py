#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module hardened.vllm.drain_state."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: drain_state
short_description: Note on the controller which engines get no new requests, and why
version_added: 0.1.0
author: hardened.vllm maintainers (@hardened-vllm)
description:
  - Keeps a file for each drained upstream, which every later run reads. Meant for the controller (C(delegate_to) localhost).
  - What an operator drained stays an operator's, whatever drains it later.
options:
  directory:
    description: Directory of the files, made with mode 0700.
    type: path
    required: true
  names:
    description: Names of the upstreams.
    type: list
    elements: str
    required: true
  state:
    description: Drained, or in service.
    type: str
    choices: [drained, active]
    required: true
  by:
    description: Who drains them; a change takes back what it drained, an operator takes back everything.
    type: str
    choices: [operator, change]
    default: operator
attributes:
  check_mode:
    description: Says whether anything would change.
    support: full
"""

EXAMPLES = r"""
- name: Note that an engine is drained
  hardened.vllm.drain_state:
    directory: /srv/secrets/drained
    names: [engine1]
    state: drained
  delegate_to: localhost
"""

RETURN = r"""
changed_names:
  description: Upstreams whose state changed or would change.
  type: list
  elements: str
  returned: success
"""

import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hardened.vllm.plugins.module_utils import files

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def read(path):
    """Return who drained what ``path`` stands for, None when nobody did."""
    try:
        with open(path, encoding="utf-8") as handle:
            return handle.read().strip() or "operator"
    except FileNotFoundError:
        return None


def wanted(now, state, by):
    """Return who shall have drained an upstream, None for nobody. An operator's word outlasts a change's."""
    if state == "drained":
        return "operator" if "operator" in (now, by) else by
    return now if (now, by) == ("operator", "change") else None


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "names": {"type": "list", "elements": "str", "required": True},
            "state": {"type": "str", "choices": ["drained", "active"], "required": True},
            "by": {"type": "str", "choices": ["operator", "change"], "default": "operator"},
        },
        supports_check_mode=True,
    )
    params = module.params
    bad = sorted(name for name in params["names"] if not NAME.fullmatch(name))
    if bad:
        module.fail_json(msg="expected names of upstreams, found %s" % ", ".join(map(repr, bad)))
    changed = []
    try:
        for name in sorted(set(params["names"])):
            path = os.path.join(params["directory"], name)
            now = read(path)
            then = wanted(now, params["state"], params["by"])
            if now == then:
                continue
            changed.append(name)
            if module.check_mode:
                continue
            if then is None:
                os.unlink(path)
            else:
                os.makedirs(params["directory"], mode=0o700, exist_ok=True)
                files.write(path, files.State(files.FILE, then.encode() + b"\n", 0o600, os.geteuid(), os.getegid()))
    except OSError as error:
        module.fail_json(msg="%s: cannot keep the state on the controller: %s" % (error.filename, error.strerror))
    module.exit_json(changed=bool(changed), changed_names=changed)


if __name__ == "__main__":
    main()
