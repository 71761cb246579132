#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module hardened.vllm.engine_bundle."""

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_bundle
short_description: Gather all wheels of a release of vLLM for nodes that reach no index
version_added: "0.1.0"
author:
  - hardened.vllm maintainers (@hardened-vllm)
extends_documentation_fragment: [hardened.vllm.wheels]
description:
  - Fetches the release and everything it needs, as wheels only, and writes C(wheels.tar), C(requirements.lock) with a hash per
    wheel, and C(manifest.json) into O(directory).
  - Wheels fit one Python and one kind of machine, so run it on a node like those that will install from it. Nothing is installed.
options:
  version:
    description: The release.
    type: str
    required: true
  directory:
    description: Directory to write into. It must not exist, and is removed again when anything fails.
    type: path
    required: true
attributes:
  check_mode:
    description: Fetches nothing and says that it would.
    support: full
  diff_mode:
    description: Does not show differences.
    support: none
"""

EXAMPLES = r"""
- name: Gather the release
  hardened.vllm.engine_bundle:
    version: 0.32.0
    directory: /var/lib/hardened-vllm/bundle
"""

RETURN = r"""
wheels:
  description: Number of wheels.
  returned: when not in check mode
  type: int
  sample: 143
bytes:
  description: Their size in bytes.
  returned: when not in check mode
  type: int
  sample: 4876543210
files:
  description: Absolute paths of what was written.
  returned: always
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hardened.vllm.plugins.module_utils import engine_bundle, engine_pip, interruption


def argument_spec():
    """Return the module's options."""
    return {
        **engine_pip.OPTIONS,
        "version": {"type": "str", "required": True},
        "directory": {"type": "path", "required": True},
    }


def main():
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    os.umask(0o022)
    interruption.raise_on_signals(engine_pip.InstallError)
    params = module.params
    names = (engine_bundle.ARCHIVE, engine_bundle.LOCK, engine_bundle.MANIFEST)
    result = {"changed": True, "files": [os.path.join(params["directory"], name) for name in names]}
    if module.check_mode:
        module.exit_json(**result)
    order = engine_bundle.Order(
        package=params["package"],
        version=params["version"],
        base_python=params["base_python"],
        source=engine_pip.Source(
            params["index_url"], params["find_links"], params["destinations"], params["index_hosts"]
        ),
        requirements=params["requirements"],
        timeout=params["timeout_seconds"],
    )
    try:
        manifest = engine_bundle.make(order, params["directory"])
    except engine_pip.InstallError as problem:
        module.fail_json(msg=str(problem))
    module.exit_json(wheels=len(manifest["wheels"]), bytes=manifest["bytes"], **result)


if __name__ == "__main__":
    main()
