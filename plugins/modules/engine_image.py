#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module hardened.vllm.engine_image."""

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_image
short_description: Have a container image of a certain release of vLLM in podman's storage
version_added: "0.1.0"
author:
  - hardened.vllm maintainers (@hardened-vllm)
description:
  - Pulls an image by its digest, or loads it from an OCI archive on the node, beside the images that are there. Nothing is started from
    it but once its interpreter, as O(user), without network, rights or anything it could write to, which says which release it holds.
  - An image that is there is asked again in every run, and pulled by none.
  - Needs podman as root (C(/usr/bin/podman)).
options:
  state:
    description:
      - V(present) has the image O(image). V(absent) removes all images that this module brought to the node, and no other.
    type: str
    choices: [present, absent]
    default: present
  image:
    description: The image with its registry and digest, C(NAME@sha256:...), with O(state=present).
    type: str
  version:
    description:
      - The release it must hold, with O(state=present). It counts as equal when its public version is (PEP 440), so C(0.32.0+cpu) is
        C(0.32.0).
    type: str
  python:
    description: Absolute path of the interpreter in the image.
    type: str
    default: /usr/bin/python3
  user:
    description: User of the service on the node.
    type: str
    default: vllm
  archive:
    description: OCI archive on the node that holds the image. No registry is asked then, and the archive is removed, also when it cannot be loaded.
    type: path
  auth:
    description: Text of an C(auth.json) for the registry (containers-auth.json(5)).
    type: str
  destinations:
    description:
      - Blocks of addresses that may be called for the image, none for no network at all. systemd drops what goes elsewhere, as it does
        for M(hardened.vllm.engine_install); a host where it has no effect is an error. Without it, they are the addresses that the host finds
        for the registry, for O(hosts) and for the proxies of its environment.
    type: list
    elements: str
  hosts:
    description: Hosts beside the registry's own that it sends podman to for its layers. Looked at only without O(destinations).
    type: list
    elements: str
    default: []
  bytes_needed:
    description: Free bytes that the filesystem of podman's storage must have before a pull begins.
    type: int
    default: 0
  timeout_seconds:
    description: How long the pull may take.
    type: int
    default: 3600
  fetch:
    description: Whether an image that is not there may be pulled. When not, that is an error, and nobody is called.
    type: bool
    default: true
attributes:
  check_mode:
    description: Reports whether it would pull, and fails for too little space. An image that is there is asked what it holds.
    support: full
  diff_mode:
    description: Shows the reason for a pull, and what is removed.
    support: full
"""

EXAMPLES = r"""
- name: Have the image
  hardened.vllm.engine_image:
    image: registry.example.org/vllm/vllm-openai@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
    version: 0.32.0
    destinations: [192.0.2.10/32]
    bytes_needed: 30000000000
"""

RETURN = r"""
reason:
  description: Why the image was or would be pulled, empty when it was not.
  returned: with O(state=present)
  type: str
removed:
  description: Images that were or would be removed.
  returned: with O(state=absent)
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hardened.vllm.plugins.module_utils import commands, engine_image, interruption


def argument_spec():
    """Return the module's options."""
    return {
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "image": {"type": "str"},
        "version": {"type": "str"},
        "python": {"type": "str", "default": "/usr/bin/python3"},
        "user": {"type": "str", "default": "vllm"},
        "archive": {"type": "path"},
        "auth": {"type": "str", "no_log": True},
        "destinations": {"type": "list", "elements": "str"},
        "hosts": {"type": "list", "elements": "str", "default": []},
        "bytes_needed": {"type": "int", "default": 0},
        "timeout_seconds": {"type": "int", "default": 3600},
        "fetch": {"type": "bool", "default": True},
    }


def present(params, check_mode):
    """Have the image, and be sure of what it holds."""
    wanted = engine_image.Wanted(
        image=params["image"],
        version=params["version"],
        python=params["python"],
        user=params["user"],
        archive=params["archive"],
        auth=params["auth"],
        destinations=params["destinations"],
        hosts=params["hosts"],
        bytes_needed=params["bytes_needed"],
        timeout=params["timeout_seconds"],
    )
    if engine_image.there(wanted.image):
        engine_image.verify(wanted)
        return {"changed": False, "reason": ""}
    reason = "podman has no %s" % wanted.image
    if not params["fetch"]:
        raise engine_image.ImageError(
            "%s, and pulling was not allowed. Nothing was changed. Images there: %s"
            % (reason, ", ".join(engine_image.names()) or "none")
        )
    if check_mode:
        engine_image.check_space(wanted)
    else:
        try:
            engine_image.fetch(wanted)
        finally:
            if wanted.archive:
                os.unlink(wanted.archive)
    return {"changed": True, "reason": reason, "diff": {"prepared": "pull %s: %s\n" % (wanted.image, reason)}}


def absent(check_mode):
    """Remove what was brought here."""
    records = engine_image.recorded()
    if not check_mode:
        engine_image.remove(records)
    removed = sorted(records.values())
    return {
        "changed": bool(removed),
        "removed": removed,
        "diff": {"before": "".join(image + "\n" for image in removed), "after": ""},
    }


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec=argument_spec(),
        required_if=[("state", "present", ["image", "version"])],
        supports_check_mode=True,
    )
    os.umask(0o022)
    interruption.raise_on_signals(engine_image.ImageError)
    try:
        if module.params["state"] == "present":
            result = present(module.params, module.check_mode)
        else:
            result = absent(module.check_mode)
    except (engine_image.ImageError, commands.CommandError, OSError) as problem:
        module.fail_json(msg=str(problem))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
