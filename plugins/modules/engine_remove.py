#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module hardened.vllm.engine_remove."""

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_remove
short_description: Take engines away from a node
version_added: "0.1.0"
author:
  - hardened.vllm maintainers (@hardened-vllm)
description:
  - Stops and disables units and removes them with other files and, where asked for, whole directories.
options:
  units:
    description: Names of the engines' units; C(*) and C([0-9]) match as in a shell.
    type: list
    elements: str
    required: true
  files:
    description:
      - Further files and, after what is in them, directories to remove for each unit. A directory that is not empty stays.
      - C({name}) stands for the unit's name without C(hardened-vllm-) and C(.service).
    type: list
    elements: path
    default: []
  trees:
    description:
      - Directories to remove with everything in them; C(*) matches as in a shell. Each must lie below C(/var/lib),
        C(/var/cache) or C(/opt).
    type: list
    elements: path
    default: []
attributes:
  check_mode:
    description: Reports what would be removed.
    support: full
  diff_mode:
    description: Lists what is removed.
    support: full
"""

EXAMPLES = r"""
- name: Remove the service and keep its data
  hardened.vllm.engine_remove:
    units: [hardened-vllm-engine*.service]
    files:
      - /etc/hardened-vllm/{name}/engine.env
      - /etc/hardened-vllm/{name}
"""

RETURN = r"""
removed:
  description: Paths that were or would be removed.
  returned: success
  type: list
  elements: str
"""

import glob
import os
import shutil
import stat

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hardened.vllm.plugins.module_utils import commands, engine_quadlet, engine_unit, files

UNITS = "/etc/systemd/system"
PREFIX = "hardened-vllm-"
SUFFIX = ".service"
TREE_PARENTS = ("/var/lib", "/var/cache", "/opt")


def refuse_wide_trees(trees):
    """Raise FileProblem for a tree whose removal would take more than an engine away."""
    for tree in trees:
        clean = os.path.normpath(tree)
        if clean != tree or not any(clean.startswith(parent + "/") for parent in TREE_PARENTS):
            raise files.FileProblem(
                "tree %s: expected a plain path below one of %s; nothing was removed" % (tree, ", ".join(TREE_PARENTS))
            )


def there(path):
    """Tell whether anything is at ``path``."""
    return files.read_state(path).kind != files.ABSENT


def kept_for_others(path, removed):
    """Tell whether ``path`` is a directory that holds more than what goes, and than sockets, which go with their service."""
    if files.read_state(path).kind != files.DIRECTORY:
        return False
    inside = [os.path.join(path, name) for name in os.listdir(path)]
    return any(one not in removed and not stat.S_ISSOCK(os.lstat(one).st_mode) for one in inside)


def found(patterns):
    """Return the names of the units in place that match one of ``patterns``, sorted."""
    names = {os.path.basename(place) for pattern in patterns for place in glob.glob(os.path.join(UNITS, pattern))}
    for pattern in patterns:
        names.update(engine_quadlet.unit(place) for place in glob.glob(engine_quadlet.quadlet(pattern)))
    return sorted(names)


def plan(params, units):
    """Return the paths to remove one by one, in their order."""
    going = []
    # The names as they were asked for too: what an interrupted removal left has no unit any more.
    for unit in sorted({*units, *(name for name in params["units"] if name == glob.escape(name))}):
        name = unit.removeprefix(PREFIX).removesuffix(SUFFIX)
        for path in [
            os.path.join(UNITS, unit),
            engine_quadlet.quadlet(unit),
            *(path.replace("{name}", name) for path in params["files"]),
        ]:
            if path not in going and there(path) and not kept_for_others(path, going):
                going.append(path)
    return going


def remove(units, going, trees):
    """Stop the units, then remove the paths ``going`` and the directories ``trees``."""
    for name in units:
        unit = engine_unit.show(name)
        if unit.load == "loaded":
            # What a Quadlet became cannot be disabled.
            verb = ["disable", "--now"] if there(os.path.join(UNITS, name)) else ["stop"]
            commands.run(["systemctl", *verb, name], engine_unit.STOP_SECONDS)
        # Also by being stopped: a container that had to be killed ends with 137.
        if engine_unit.show(name).active == "failed":
            commands.run(["systemctl", "reset-failed", name], 30)
    for path in going:
        files.become(path, files.State(files.ABSENT))
    for tree in trees:
        shutil.rmtree(tree)
    if going:
        commands.run(["systemctl", "daemon-reload"], 60)


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "str", "required": True},
            "files": {"type": "list", "elements": "path", "default": []},
            "trees": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        refuse_wide_trees(module.params["trees"])
        units = found(module.params["units"])
        going = plan(module.params, units)
        trees = sorted({tree for pattern in module.params["trees"] for tree in glob.glob(pattern)})
        if not module.check_mode and (going or trees):
            remove(units, going, trees)
    except (files.FileProblem, commands.CommandError) as problem:
        module.fail_json(msg=str(problem))
    except OSError as error:
        module.fail_json(msg="%s: cannot be removed: %s" % (error.filename, error.strerror))
    result = {"changed": bool(going or trees), "removed": going + trees}
    if module._diff:
        result["diff"] = {"before": "".join(path + "\n" for path in result["removed"]), "after": ""}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
