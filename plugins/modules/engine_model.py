#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module hardened.vllm.engine_model."""

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_model
short_description: Have one revision of a model on the node, checked
version_added: "0.1.0"
author:
  - hardened.vllm maintainers (@hardened-vllm)
description:
  - Fetches a revision of a repository on a Hugging Face hub, or a mirror of one, into a directory of its own.
  - Only what vLLM reads and what holds no code is fetched, which are weights in safetensors, JSON, text, tokenizers and templates.
    A revision without weights in safetensors is an error.
  - Every file is checked against the checksum the hub gives for the revision. It is fetched beside its place and moved there by a
    rename when it is complete, so that a failed or interrupted run changes nothing; the next one goes on where it ended.
  - Nodes that share the directory wait for the one that fetches, as long as O(timeout_seconds), and find the model in place then.
  - The result belongs to root, is read-only, and holds C(.manifest.json) with a SHA-256 digest per file.
options:
  repository:
    description: The repository, C(owner/name).
    type: str
    required: true
  revision:
    description: The commit, 40 hexadecimal digits. A branch or tag would be another model tomorrow.
    type: str
    required: true
  path:
    description: Absolute path of the directory to have it in.
    type: path
    required: true
  endpoint:
    description: Address of the hub, https.
    type: str
    default: https://huggingface.co
  hosts:
    description: Further hosts that the hub may redirect to. The token is never sent there.
    type: list
    elements: str
    default: []
  token:
    description: Token for the hub.
    type: str
  digest:
    description: Expected RV(digest). Without it the hub is believed which files belong to the revision.
    type: str
  destinations:
    description:
      - Address blocks that may be called, and nobody else. Without it, they are the addresses that the host finds for O(endpoint), for
        O(hosts) and for the proxies of its environment.
      - What fetches runs in a unit of its own, with whose end they are closed, and the module fails on a host that cannot hold it back.
    type: list
    elements: str
  python:
    description: Interpreter for the program that fetches.
    type: path
    default: /usr/bin/python3
  bytes_spare:
    description: Free bytes that the filesystem has to keep.
    type: int
    default: 1000000000
  timeout_seconds:
    description: Time that it may take as a whole.
    type: int
    default: 21600
  stall_seconds:
    description: Time without a byte after which a connection is given up.
    type: int
    default: 60
  thorough:
    description:
      - Whether to read all files of a revision that is in place. When not, names, sizes, owners and modes are compared, and the
        content of files up to 64 MiB and of those whose time of change is another.
    type: bool
    default: false
  fetch:
    description: Whether a revision that is not in place, or not as it was fetched, may be fetched. When not, that is an error.
    type: bool
    default: true
  ask:
    description: Whether the hub is asked in check mode. When not, what is in place is looked at, and nothing is called.
    type: bool
    default: true
attributes:
  check_mode:
    description: Asks the hub which files there are, and fails for what could not be fetched, unless O(ask) is false. Fetches none.
    support: full
  diff_mode:
    description: Shows the reason, and the files that would be fetched.
    support: full
"""

EXAMPLES = r"""
- name: Have the model
  hardened.vllm.engine_model:
    repository: Qwen/Qwen3-0.6B
    revision: c1899de289a04d12100db370d81485cdf75e47ca
    path: /srv/hardened-vllm/models/Qwen--Qwen3-0.6B/c1899de289a04d12100db370d81485cdf75e47ca
    hosts: [cas-bridge.xethub.hf.co]
"""

RETURN = r"""
reason:
  description: Why it was or would be fetched, empty when what is in place is as it was fetched.
  returned: success
  type: str
strangers:
  description: Files in the directory that the revision does not have. They are warned of, and never removed.
  returned: when nothing was fetched
  type: list
  elements: str
files:
  description: The files with their size in bytes, and with their C(sha256) when they were fetched.
  returned: when they were or would be fetched, and the hub was asked
  type: dict
bytes:
  description: Size of all of them.
  returned: as RV(files)
  type: int
digest:
  description: SHA-256 over the lines that C(sha256sum) prints for all files, sorted by name; the same on every node.
  returned: when they were fetched
  type: str
"""

import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hardened.vllm.plugins.module_utils import engine_model, interruption

SHAPES = {
    "repository": (
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}",
        "a repository such as owner/name",
    ),
    "revision": (r"[0-9a-f]{40}", "a commit of 40 lower-case hexadecimal digits"),
    "path": (r"/.*[^/]", "an absolute path"),
    "endpoint": (r"https://[A-Za-z0-9.\[\]:-]+(/[A-Za-z0-9._~/-]*)?", "an https address without query"),
    "token": (r"[!-~]+", "one word of printable characters (not shown)"),
    "digest": (r"[0-9a-f]{64}", "a SHA-256 digest of 64 lower-case hexadecimal digits"),
}


def argument_spec():
    """Return the module's options."""
    return {
        "repository": {"type": "str", "required": True},
        "revision": {"type": "str", "required": True},
        "path": {"type": "path", "required": True},
        "endpoint": {"type": "str", "default": "https://huggingface.co"},
        "hosts": {"type": "list", "elements": "str", "default": []},
        "token": {"type": "str", "no_log": True},
        "digest": {"type": "str"},
        "destinations": {"type": "list", "elements": "str"},
        "python": {"type": "path", "default": "/usr/bin/python3"},
        "bytes_spare": {"type": "int", "default": 1000000000},
        "timeout_seconds": {"type": "int", "default": 21600},
        "stall_seconds": {"type": "int", "default": 60},
        "thorough": {"type": "bool", "default": False},
        "fetch": {"type": "bool", "default": True},
        "ask": {"type": "bool", "default": True},
    }


def misshapen(params):
    """Return what is wrong with an option (str), or None."""
    for name, (pattern, expected) in SHAPES.items():
        if params[name] is not None and re.fullmatch(pattern, params[name]) is None:
            found = "something else" if name == "token" else repr(params[name])
            return "%s: expected %s, found %s" % (name, expected, found)
    return None


def have(params, check_mode):
    """Fetch the revision unless it is in place, complete and unchanged."""
    wanted = engine_model.Wanted(
        repository=params["repository"],
        revision=params["revision"],
        path=params["path"],
        endpoint=params["endpoint"],
        python=params["python"],
        hosts=params["hosts"],
        token=params["token"],
        digest=params["digest"],
        destinations=params["destinations"],
        bytes_spare=params["bytes_spare"],
        timeout=params["timeout_seconds"],
        stall=params["stall_seconds"],
    )
    reason = engine_model.why_fetch(wanted, params["thorough"])
    if reason is None:
        return {"changed": False, "reason": "", "strangers": engine_model.strangers(wanted.path)}
    if not params["fetch"]:
        raise engine_model.ModelError("%s, and fetching was not allowed. Nothing was changed." % reason)
    head = "fetch %s at %s: %s\n" % (wanted.repository, wanted.revision, reason)
    if check_mode and not params["ask"]:
        return {"changed": True, "reason": reason, "diff": {"prepared": head}}
    files = engine_model.look(wanted) if check_mode else engine_model.fetch(wanted, params["thorough"])
    if files is None:
        return {"changed": False, "reason": "", "strangers": engine_model.strangers(wanted.path)}
    lines = ["%s (%d bytes)\n" % (name, file["bytes"]) for name, file in sorted(files.items())]
    result = {
        "changed": True,
        "reason": reason,
        "files": files,
        "bytes": sum(file["bytes"] for file in files.values()),
        "diff": {"prepared": head + "".join(lines)},
    }
    if not check_mode:
        result["digest"] = engine_model.digest_of(files)
    return result


def main():
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    os.umask(0o022)
    interruption.raise_on_signals(engine_model.ModelError)
    problem = misshapen(module.params)
    if problem:
        module.fail_json(msg=problem)
    try:
        result = have(module.params, module.check_mode)
    except engine_model.ModelError as problem:
        module.fail_json(msg=str(problem))
    if result.get("strangers"):
        module.warn(
            "%s holds files that the revision does not have, and vLLM may read them: %s"
            % (module.params["path"], ", ".join(result["strangers"][:10]))
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
