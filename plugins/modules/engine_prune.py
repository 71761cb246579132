#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module hardened.vllm.engine_prune."""

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_prune
short_description: Remove releases and revisions of models that nobody plans or runs
version_added: "0.1.0"
author:
  - hardened.vllm maintainers (@hardened-vllm)
description:
  - Removes what M(hardened.vllm.engine_install) and M(hardened.vllm.engine_model) have put in place and nobody needs any more. What has no
    manifest of theirs that fits its name is never touched, nor is a symbolic link.
  - What is planned stays, and what a unit of this collection, the kept former state of one, or any process names or has mapped.
options:
  root:
    description: Directory of the installed releases.
    type: path
  models:
    description: Directory of the revisions of O(repository).
    type: path
  repository:
    description: Repository whose revisions are looked at, C(owner/name). Needed with O(models).
    type: str
  planned:
    description: Directories that are planned, by any host that shares one of them.
    type: list
    elements: path
    default: []
  keep:
    description: How many of those nobody plans or runs stay all the same, of releases and of revisions each; the ones put in place last.
    type: int
    default: 1
attributes:
  check_mode:
    description: Reports what would be removed.
    support: full
  diff_mode:
    description: Lists what is removed with its bytes, and what stays and why.
    support: full
"""

EXAMPLES = r"""
- name: Keep the planned release and the one before it
  hardened.vllm.engine_prune:
    root: /opt/hardened-vllm/engine
    planned: [/opt/hardened-vllm/engine/0.32.0]
"""

RETURN = r"""
removed:
  description: Directories that were or would be removed, each with its size in bytes on disk.
  returned: success
  type: dict
  sample: {"/opt/hardened-vllm/engine/0.30.0": 9876543210}
bytes:
  description: Sum of these sizes.
  returned: success
  type: int
kept:
  description: Directories that stay, each with the reason.
  returned: success
  type: dict
  sample: {"/opt/hardened-vllm/engine/0.32.0": "planned"}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hardened.vllm.plugins.module_utils import (
    engine_model,
    engine_prune,
    files,
    interruption,
    placement,
)


def prune(params, check_mode):
    """Look at releases and revisions and remove what may go."""
    said = engine_prune.texts()
    kinds = [(engine_prune.releases(params["root"]) if params["root"] else [], None)]
    if params["models"]:
        kinds.append((engine_prune.revisions(params["models"], params["repository"]), engine_model.LOCK))
    removed, kept = {}, {}
    for found, lock in kinds:
        for path, why in engine_prune.judge(found, params["planned"], params["keep"], said).items():
            if why is not None:
                kept[path] = why
                continue
            removed[path] = placement.disk_size(path)
            if not check_mode:
                engine_prune.remove(path, lock)
    lines = ["remove %s (%d bytes)\n" % one for one in sorted(removed.items())]
    lines += ["keep %s: %s\n" % one for one in sorted(kept.items())]
    return {
        "changed": bool(removed),
        "removed": removed,
        "bytes": sum(removed.values()),
        "kept": kept,
        "diff": {"prepared": "".join(lines)},
    }


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path"},
            "models": {"type": "path"},
            "repository": {"type": "str"},
            "planned": {"type": "list", "elements": "path", "default": []},
            "keep": {"type": "int", "default": 1},
        },
        required_one_of=[("root", "models")],
        required_together=[("models", "repository")],
        supports_check_mode=True,
    )
    interruption.raise_on_signals(files.FileProblem)
    if module.params["keep"] < 0:
        module.fail_json(msg="keep: found %d, expected 0 or more. Nothing was removed." % module.params["keep"])
    try:
        module.exit_json(**prune(module.params, module.check_mode))
    except files.FileProblem as problem:
        module.fail_json(msg=str(problem))
    except OSError as error:
        module.fail_json(msg="%s: cannot be removed: %s" % (error.filename, error.strerror))


if __name__ == "__main__":
    main()
