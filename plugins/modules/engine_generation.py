#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module hardened.vllm.engine_generation."""

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_generation
short_description: Change the files of an engine with a way back
version_added: "0.1.0"
author:
  - hardened.vllm maintainers (@hardened-vllm)
description:
  - An engine spans several nodes, and whether new files work is known only after all of them have restarted. Until
    then each node keeps the files of the last state that worked.
  - With O(state=staged) writes the new files, lets C(systemd-analyze verify) judge the unit, enables it and keeps
    the former files. Nothing is restarted. Secrets are treated as in M(hardened.vllm.files).
  - With O(state=restored) puts the former files back, and with O(state=proven) forgets them.
  - A run that ends in between leaves the former files where they are; the next one goes on from there.
options:
  state:
    description: What to do.
    type: str
    choices: [staged, proven, restored]
    required: true
  unit:
    description: Name of the engine's unit.
    type: str
    required: true
  quadlet:
    description:
      - Whether the unit is made by podman's generator of a Quadlet below C(/etc/containers/systemd). A plain unit of the same name, which
        would win, goes then; when not, the Quadlet does. The generator judges it in place of C(systemd-analyze verify).
    type: bool
    default: false
  kept:
    description: File that holds the former state while there is one. Its directory is made with mode 0700.
    type: path
    default: /var/lib/hardened-vllm/engine-before.json
  directories:
    description: Directories that must exist, with O(state=staged).
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
    description: Files with their whole content, with O(state=staged). The unit is one of them.
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
          - The content. Every C(@secret:NAME@) is replaced by that member of O(secrets), every C(@uid:NAME@) and C(@gid:NAME@) by the
            number that user or group has on the node.
        type: str
        required: true
      mode:
        description: Octal mode as a quoted string with a leading zero.
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
      live:
        description:
          - The engine, or what watches it, reads the file again by itself, so that a change of it asks for no restart. It is
            written in place, because vLLM loses sight of a file that is renamed over (C(--enable-ssl-refresh)).
        type: bool
        default: false
      secret:
        description: Hide the whole content in the diff. It may have several lines then, because vLLM reads it from no YAML.
        type: bool
        default: false
  secrets:
    description: Values for C(@secret:NAME@), by name.
    type: dict
    default: {}
  restart:
    description: Something else that the engine runs has changed, so that it must restart even if no file differs.
    type: bool
    default: false
  manifests:
    description:
      - Manifests of directories the engine runs, written by M(hardened.vllm.engine_install) and M(hardened.vllm.engine_model). A
        directory that was put in place after the unit's process was started asks for a restart, whichever run has put it there.
    type: list
    elements: path
    default: []
  start_seconds:
    description:
      - How long the engine took from its start to the first token, with O(state=proven). Kept for the next change, which says
        it to whoever has to wait; returned as RV(start_seconds) with O(state=staged).
    type: float
    default: 0
  stop:
    description: Stop the unit before the former files are put back, with O(state=restored).
    type: bool
    default: true
attributes:
  check_mode:
    description: Reports what would change and touches nothing.
    support: full
  diff_mode:
    description: Shows contents, modes and owners before and after, with secrets masked.
    support: full
"""

EXAMPLES = r"""
- name: Put the new unit in place
  hardened.vllm.engine_generation:
    state: staged
    unit: hardened-vllm-engine.service
    files:
      - path: /etc/systemd/system/hardened-vllm-engine.service
        content: "{{ lookup('ansible.builtin.template', 'hardened-vllm-engine.service.j2') }}"

- name: Forget the former state once the new one works
  hardened.vllm.engine_generation:
    state: proven
    unit: hardened-vllm-engine.service
"""

RETURN = r"""
changed_paths:
  description: Paths that changed or would change.
  returned: with O(state=staged)
  type: list
  elements: str
restart_needed:
  description:
    - Whether the engine has to restart to be what its files say. True too for a unit that does not run and for files
      that an interrupted run left unproven.
  returned: with O(state=staged)
  type: bool
replaced:
  description: Directories of O(manifests) that the process was started without.
  returned: with O(state=staged)
  type: list
  elements: str
runs:
  description: Whether the unit runs now.
  returned: with O(state=staged)
  type: bool
start_seconds:
  description: How long the last start took from process to token, 0 when that is not known.
  returned: with O(state=staged)
  type: float
startable:
  description: Whether a unit is in place after the former files were put back; on its first installation there is none.
  returned: with O(state=restored)
  type: bool
progress:
  description: V(ready) or V(failed), for the filter P(hardened.vllm.engine_verdict#filter).
  returned: always
  type: str
"""

import posixpath
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hardened.vllm.plugins.module_utils import (
    batch,
    commands,
    engine_generation,
    engine_quadlet,
    engine_unit,
    files,
    interruption,
    masking,
)

UNITS = "/etc/systemd/system"
# vLLM reads the value from YAML and hands it to its argument parser, where a leading dash makes it an option.
READABLE_SECRET = re.compile(r"[A-Za-z0-9._~+/=][A-Za-z0-9._~+/=-]*")


def argument_spec():
    """Return the module's options."""

    def entry(mode, **more):
        return dict(
            path={"type": "str", "required": True},
            mode={"type": "str", "default": mode},
            owner={"type": "str", "default": "root"},
            group={"type": "str", "default": "root"},
            **more,
        )

    content, switch = {"type": "str", "required": True}, {"type": "bool", "default": False}
    return {
        "state": {"type": "str", "choices": ["staged", "proven", "restored"], "required": True},
        "unit": {"type": "str", "required": True},
        "quadlet": switch,
        "kept": {"type": "path", "default": "/var/lib/hardened-vllm/engine-before.json"},
        "directories": {"type": "list", "elements": "dict", "default": [], "options": entry("0755")},
        "files": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": entry("0644", content=content, live=switch, secret=dict(switch, no_log=False)),
        },
        "secrets": {"type": "dict", "default": {}, "no_log": True},
        "restart": {"type": "bool", "default": False},
        "manifests": {"type": "list", "elements": "path", "default": []},
        "start_seconds": {"type": "float", "default": 0},
        "stop": {"type": "bool", "default": True},
    }


def unit_path(params):
    """Return where the unit lies."""
    return engine_quadlet.quadlet(params["unit"]) if params["quadlet"] else posixpath.join(UNITS, params["unit"])


def other_path(params):
    """Return where the unit would lie if it were of the other kind, and must not."""
    return unit_path(dict(params, quadlet=not params["quadlet"]))


def batch_params(params, lenient):
    """Return the options of the batch that carries the files."""
    path = unit_path(params)
    verify = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", path]
    entries = [(entry, engine_quadlet.numbered(entry["content"], lenient)) for entry in params["files"]]
    return {
        "directories": params["directories"],
        "files": [dict(entry, content=content, secret=entry.get("secret", False)) for entry, content in entries],
        "absent": [other_path(params)],
        "secrets": params["secrets"],
        "check": [{"argv": engine_quadlet.CHECK if params["quadlet"] else verify, "timeout_seconds": 60}],
        "apply": [{"argv": ["systemctl", "daemon-reload"], "timeout_seconds": 60, "paths": [path]}],
        "state_directory": posixpath.dirname(params["kept"]),
    }


def refuse_unreadable_secrets(params):
    """Raise FileProblem for a secret that would not reach vLLM as it is."""
    used = {name for entry in params["files"] if not entry.get("secret") for name in masking.names(entry["content"])}
    for name in sorted(used & set(params["secrets"])):
        if not READABLE_SECRET.fullmatch(str(params["secrets"][name])):
            raise files.FileProblem(
                "secret %s: vLLM could not read it from its configuration file; expected letters, digits and ._~+/=-,"
                " no dash first, on one line. Replace the file that holds it on the controller" % name
            )


def staged(module, kept):
    """Bring the new files in place and say whether they ask for a restart."""
    params = module.params
    refuse_unreadable_secrets(params)
    wanted = batch.Batch(batch_params(params, module.check_mode), lenient=module.check_mode)
    changes = wanted.changes()
    unit = engine_unit.show(params["unit"])
    unproven = kept.exists() or wanted.unfinished()
    # What the generator makes starts at boot by its own [Install]; systemctl enables no such unit.
    enabled = params["quadlet"] or unit.enabled
    live = {entry["path"] for entry in params["files"] if entry.get("live")}
    started_with = [change for change in changes if change.path not in live]
    replaced = engine_unit.started_without(params["unit"], params["manifests"])
    result = {
        "changed": bool(changes) or unproven or not enabled,
        "changed_paths": [change.path for change in changes],
        "restart_needed": bool(started_with or replaced) or unproven or params["restart"] or not unit.running,
        "replaced": replaced,
        "runs": unit.running,
        "progress": "ready",
        "start_seconds": kept.start_seconds(),
    }
    if module._diff:
        result["diff"] = [part for change in changes for part in wanted.diff(change)]
    if not module.check_mode:
        if started_with or unproven:
            kept.keep([*(entry["path"] for entry in params["files"]), other_path(params)], live)
        if params["quadlet"] and unit.enabled:
            commands.run(["systemctl", "disable", params["unit"]], 60)
        carry_out(wanted, changes, kept, unproven)
        if not enabled:
            commands.run(["systemctl", "enable", params["unit"]], 60)
        if params["quadlet"] and changes:
            engine_quadlet.expect_generated(params["unit"])
    return result


def carry_out(wanted, changes, kept, unproven):
    """Carry the batch out; when it takes itself back there is no former state to keep."""
    try:
        wanted.carry_out(changes)
    except batch.Failed as failure:
        if failure.restored and not unproven:
            kept.forget()
        raise


def restored(module, kept):
    """Put the former files back."""
    params = module.params
    former = kept.states()
    path = unit_path(params)
    if module.check_mode:
        return {"changed": bool(former), "startable": files.read_state(path).kind == files.FILE, "progress": "ready"}
    if params["stop"] and engine_unit.show(params["unit"]).load == "loaded":
        commands.run(["systemctl", "stop", params["unit"]], engine_unit.STOP_SECONDS)
    if path in former and former[path].kind == files.ABSENT and not params["quadlet"]:
        commands.run(["systemctl", "disable", params["unit"]], 60)
    for place, state in former.items():
        files.become(place, state)
    commands.run(["systemctl", "daemon-reload"], 60)
    other = other_path(params)
    was_other = other in former and former[other].kind == files.FILE
    if was_other and params["quadlet"]:
        commands.run(["systemctl", "enable", params["unit"]], 60)
    kept.forget()
    startable = was_other or files.read_state(path).kind == files.FILE
    return {"changed": bool(former), "startable": startable, "progress": "ready"}


def proven(module, kept):
    """Forget the former files."""
    if not module.check_mode:
        left = None if module.params["quadlet"] else kept.states().get(other_path(module.params))
        if left is not None and left.kind == files.FILE:
            engine_quadlet.forget_container(module.params["unit"])
        kept.forget()
        kept.note_start(module.params["start_seconds"])
    return {"changed": False, "progress": "ready"}


def main():
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    interruption.raise_on_signals(files.FileProblem)
    kept = engine_generation.Kept(module.params["kept"])
    act = {"staged": staged, "restored": restored, "proven": proven}[module.params["state"]]
    try:
        if module.check_mode:
            result = act(module, kept)
        else:
            with files.exclusive():
                result = act(module, kept)
    except (files.FileProblem, batch.Failed, commands.CommandError) as problem:
        module.fail_json(msg=str(problem), progress="failed")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
