#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module hardened.vllm.key_handover."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: key_handover
short_description: Replace a key that both sides have to change, one step at a time
version_added: 0.1.0
author: hardened.vllm maintainers (@hardened-vllm)
description:
  - Beside the key in O(file) lies its successor (C(FILE.next)) before the switch and its predecessor (C(FILE.old)) after it. The side that checks
    takes all that are there, the side that shows one uses O(file).
  - Every step may be repeated, and an interrupted handover goes on with the step it had reached.
  - Meant for the controller (C(delegate_to) localhost).
options:
  file:
    description: Absolute path of the file that holds the key.
    type: path
    required: true
  step:
    description:
      - V(offered) makes a successor of 256 random bits, unless a handover has begun already.
      - V(switched) puts the successor in the key's place and keeps the key as predecessor.
      - V(finished) removes the predecessor.
    type: str
    choices: [offered, switched, finished]
    required: true
notes:
  - Keys themselves are never returned.
attributes:
  check_mode:
    description: Says whether the step would change anything.
    support: full
"""

EXAMPLES = r"""
- name: Make the successor of the key between gateways and engines
  hardened.vllm.key_handover:
    file: /srv/secrets/upstream.key
    step: offered
  delegate_to: localhost
"""

RETURN = r"""
begun:
  description: Whether a handover had begun before this step.
  type: bool
  returned: success
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hardened.vllm.plugins.module_utils import keys

VAULT_REMEDY = "encrypt another key by hand"


def offer(path, check):
    """Make the successor; return whether that changes anything."""
    if os.path.exists(path + ".next") or os.path.exists(path + ".old"):
        return False
    if not check:
        keys.write(path + ".next", keys.fresh())
    return True


def switch(path, check):
    """Put the successor in the key's place; return whether that changes anything."""
    if not os.path.exists(path + ".next"):
        return False
    if not check:
        # Whoever is interrupted here finds the key twice and repeats the step.
        keys.write(path + ".old", keys.read(path, VAULT_REMEDY) + b"\n")
        os.rename(path + ".next", path)
    return True


def finish(path, check):
    """Remove the predecessor; return whether that changes anything."""
    if not os.path.exists(path + ".old"):
        return False
    if os.path.exists(path + ".next"):
        raise ValueError("%s.next has not been switched to yet; nothing was removed" % path)
    if not check:
        os.unlink(path + ".old")
    return True


STEPS = {"offered": offer, "switched": switch, "finished": finish}


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "file": {"type": "path", "required": True},
            "step": {"type": "str", "choices": sorted(STEPS), "required": True},
        },
        supports_check_mode=True,
    )
    path = module.params["file"]
    try:
        keys.read(path, VAULT_REMEDY)
        begun = os.path.exists(path + ".next") or os.path.exists(path + ".old")
        changed = STEPS[module.params["step"]](path, module.check_mode)
    except ValueError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg="%s: cannot replace the key on the controller: %s" % (path, error.strerror))
    module.exit_json(changed=changed, begun=begun)


if __name__ == "__main__":
    main()
