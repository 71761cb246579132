#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module hardened.vllm.key_rotation."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: key_rotation
short_description: Put new keys in the place of old ones, which stay good for a while
version_added: 0.1.0
author: hardened.vllm maintainers (@hardened-vllm)
description:
  - Writes a random key of 256 bits in hexadecimal digits into each file. Of the old key only its SHA-256 digest is kept, with the
    moment it ends, in a file of the same name with C(.retired) behind it; gateways refuse it from that moment on by themselves.
  - Meant for the controller (C(delegate_to) localhost). Every run makes new keys.
  - The old key's digest is written first, so that an interrupted run leaves the old key in force.
options:
  files:
    description: Absolute paths of the files that hold the keys.
    type: list
    elements: path
    required: true
  grace_seconds:
    description: How long the old keys stay good.
    type: int
    required: true
notes:
  - Keys themselves are never returned.
attributes:
  check_mode:
    description: Says which keys it would replace.
    support: full
"""

EXAMPLES = r"""
- name: Give the tenant a new key and keep the old one for a day
  hardened.vllm.key_rotation:
    files: [/srv/secrets/tenants/acme/k1.key]
    grace_seconds: 86400
  delegate_to: localhost
"""

RETURN = r"""
rotated:
  description: Files that hold new keys, or would in check mode.
  type: list
  elements: str
  returned: success
expires:
  description: The second since 1970 from which on the old keys are refused.
  type: int
  returned: success
"""

import hashlib
import json
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hardened.vllm.plugins.module_utils import keys

VAULT_REMEDY = "declare a second key for the tenant and give the old one a day in expires"


def read_retired(path):
    """Return the list in ``path``, empty where there is none; ValueError when it is no such list."""
    try:
        with open(path, encoding="utf-8") as handle:
            entries = json.load(handle)
        return [{"sha256": str(entry["sha256"]), "expires": int(entry["expires"])} for entry in entries]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} is no list of retired keys ({error}): mend or remove it, its keys end at once then"
        ) from error


def rotate(path, key, retired, now, expires):
    """Replace ``key`` in ``path``; what is over by ``now`` leaves the list of retired keys."""
    digest = hashlib.sha256(key).hexdigest()
    kept = [entry for entry in retired if entry["expires"] > now and entry["sha256"] != digest]
    kept.append({"sha256": digest, "expires": expires})
    keys.write(f"{path}.retired", json.dumps(kept, indent=1).encode() + b"\n")
    keys.write(path, keys.fresh())


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "list", "elements": "path", "required": True, "no_log": False},
            "grace_seconds": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    paths, grace = sorted(set(module.params["files"])), module.params["grace_seconds"]
    if grace < 0:
        module.fail_json(msg=f"grace_seconds is {grace}, expected 0 or more")
    now = int(time.time())
    try:
        known = [(path, keys.read(path, VAULT_REMEDY), read_retired(f"{path}.retired")) for path in paths]
        if not module.check_mode:
            for path, key, retired in known:
                rotate(path, key, retired, now, now + grace)
    except ValueError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"cannot replace the keys on the controller: {error}")
    module.exit_json(changed=bool(paths), rotated=paths, expires=now + grace)


if __name__ == "__main__":
    main()
