#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module hardened.vllm.engine_install."""

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_install
short_description: Have a certain release of vLLM ready to run
version_added: "0.1.0"
author:
  - hardened.vllm maintainers (@hardened-vllm)
extends_documentation_fragment: [hardened.vllm.wheels]
description:
  - With O(method=existing) looks whether an interpreter on the node holds the expected release.
  - With O(method=index) installs the release into a virtual environment of its own, O(root)/O(version), beside those
    of other releases. It is built in a hidden directory, verified and moved into place by a rename, so that a
    failed or interrupted installation changes nothing.
  - Only wheels are installed; a source distribution would run its own code as root.
  - The interpreter is asked as O(user), never as root, and is not made to import vLLM.
options:
  method:
    description: Where vLLM comes from.
    type: str
    choices: [existing, index]
    required: true
  version:
    description:
      - The release. It counts as present when its public version is equal (PEP 440), so C(0.32.0+cpu) is C(0.32.0).
    type: str
    required: true
  user:
    description: User of the service. It must be able to run the interpreter and unable to change what that runs.
    type: str
    default: vllm
  python:
    description: Absolute path of the interpreter, with O(method=existing).
    type: path
  root:
    description: Directory of the environments, with O(method=index).
    type: path
  archive:
    description:
      - Bundle of wheels on the node, made by M(hardened.vllm.engine_bundle). It is the only source then, and is removed once
        the release is installed.
    type: path
  bytes_needed:
    description: Free bytes that the filesystem of O(root) must have before an installation begins.
    type: int
    default: 0
  build:
    description:
      - Whether a release that is not in place, or not as it was installed, may be built. When not, that is an error, and
        nothing is fetched from anywhere.
    type: bool
    default: true
attributes:
  check_mode:
    description: Reports whether it would install, and fails for too little space. An existing interpreter is verified.
    support: full
  diff_mode:
    description: Shows the reason for an installation.
    support: full
"""

EXAMPLES = r"""
- name: Install vLLM from an index
  hardened.vllm.engine_install:
    method: index
    version: 0.32.0
    root: /opt/hardened-vllm/engine
    bytes_needed: 12000000000

- name: Make sure that an environment made by other means holds the expected release
  hardened.vllm.engine_install:
    method: existing
    version: 0.32.0
    python: /opt/vllm/bin/python
"""

RETURN = r"""
python:
  description: Absolute path of the interpreter to start vLLM with.
  returned: success
  type: str
  sample: /opt/hardened-vllm/engine/0.32.0/bin/python
reason:
  description: Why an installation was or would be made, empty when none was needed.
  returned: success
  type: str
installed:
  description: Version of the interpreter, number of packages and size in bytes of a new environment.
  returned: when an environment was built
  type: dict
  sample: {"python": "3.11.2", "packages": 143, "bytes": 9876543210}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hardened.vllm.plugins.module_utils import engine_pip, engine_python, engine_venv, interruption


def argument_spec():
    """Return the module's options."""
    return {
        **engine_pip.OPTIONS,
        "method": {"type": "str", "choices": ["existing", "index"], "required": True},
        "version": {"type": "str", "required": True},
        "user": {"type": "str", "default": "vllm"},
        "python": {"type": "path"},
        "root": {"type": "path"},
        "archive": {"type": "path"},
        "bytes_needed": {"type": "int", "default": 0},
        "build": {"type": "bool", "default": True},
    }


def existing(params):
    """Verify an interpreter that others maintain."""
    contents = engine_python.ask(params["python"], params["user"])
    engine_python.expect_release(params["python"], contents, params["version"])
    return {"changed": False, "python": params["python"], "reason": ""}


def index(params, check_mode):
    """Install the release unless it is in place, complete and unchanged."""
    wanted = engine_venv.Wanted(
        package=params["package"],
        version=params["version"],
        root=params["root"],
        base_python=params["base_python"],
        user=params["user"],
        index_url=params["index_url"],
        find_links=params["find_links"],
        archive=params["archive"],
        requirements=params["requirements"],
        destinations=params["destinations"],
        index_hosts=params["index_hosts"],
        bytes_needed=params["bytes_needed"],
        timeout=params["timeout_seconds"],
    )
    reason = engine_venv.why_build(wanted)
    result = {"changed": reason is not None, "python": wanted.python, "reason": reason or ""}
    if reason is None:
        return result
    if not params["build"]:
        raise engine_pip.InstallError(
            "%s, and installing was not allowed. Nothing was changed. Installed in %s: %s"
            % (reason, wanted.root, ", ".join(engine_venv.installed(wanted.root)) or "nothing")
        )
    result["diff"] = {"prepared": "install %s %s: %s\n" % (wanted.package, wanted.version, reason)}
    if check_mode:
        engine_venv.check_space(wanted)
    else:
        result["installed"] = engine_venv.build(wanted)
        if wanted.archive:
            os.unlink(wanted.archive)
    return result


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec=argument_spec(),
        required_if=[("method", "existing", ["python"]), ("method", "index", ["root"])],
        mutually_exclusive=[("archive", "index_url"), ("archive", "find_links")],
        supports_check_mode=True,
    )
    os.umask(0o022)
    interruption.raise_on_signals(engine_pip.InstallError)
    try:
        if module.params["method"] == "existing":
            result = existing(module.params)
        else:
            result = index(module.params, module.check_mode)
    except (engine_python.PythonError, engine_pip.InstallError) as problem:
        module.fail_json(msg=str(problem))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
