#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_host
short_description: Read everything an audit of vLLM needs to know about a host, and change nothing
version_added: "0.1.0"
author:
  - hardened.vllm maintainers (@hardened-vllm)
extends_documentation_fragment: [hardened.vllm.audit]
description:
  - Looks at any Linux host, whether this collection set it up or not, in one remote execution.
  - Finds the sockets of every network namespace, containers' too, with the process behind each; what runs of vLLM, Ray, Mooncake,
    NIXL and LMCache, whatever started it; the packet filter, units, kernel settings and files as they are in force.
  - Secrets in command lines, environments, units and configurations are told as SHA-256 digests.
  - What cannot be looked at is C(null) and named with its reason in C(unknown); it never fails the module.
options:
  paths:
    description: Absolute paths that are told whole, with everything below them and digests of the files.
    type: list
    elements: path
    default: []
  trees:
    description: >-
      Absolute paths of large trees (models, caches, installations). Of these are told the path itself, and below it what somebody
      besides root may write.
    type: list
    elements: path
    default: []
  sysctl:
    description: Kernel settings to read, besides those that always are.
    type: list
    elements: str
    default: []
  packages:
    description: Debian packages whose installed versions are wanted.
    type: list
    elements: str
    default: [nginx, libnginx-mod-http-js, squid, nftables, python3, systemd, openssl, podman, docker.io]
notes:
  - Run it as root; otherwise most facts about the processes of others are unknown.
  - With pipelining (C(ansible_pipelining=true)) not even a temporary file is written.
"""

EXAMPLES = r"""
- name: Look at the host
  hardened.vllm.audit_host:
  register: looked

- name: Say what of vLLM runs there
  ansible.builtin.debug:
    msg: "{{ looked.evidence.processes | map(attribute='argv') }}"
"""

RETURN = r"""
evidence:
  description: >-
    What was seen, as C(HostEvidence) in C(plugins/plugin_utils/audit/evidence.py) describes it. Every key is always there; what could
    not be looked at is C(null).
  returned: always
  type: dict
  contains:
    format: {description: Version of this shape., type: int, sample: 1}
    kind: {description: Always C(host)., type: str, sample: host}
    host: {description: Name of the host as the kernel knows it., type: str, sample: engine1}
    taken: {description: "When it was looked, in UTC.", type: str, sample: "2026-11-25T14:40:00Z"}
    seconds: {description: How long it took., type: float, sample: 0.8}
    privileged: {description: Whether it ran as root., type: bool, sample: true}
    os: {description: Distribution., type: dict, sample: {id: debian, version: "12"}}
    kernel: {description: Kernel release., type: str, sample: 6.1.0-37-amd64}
    booted: {description: When the kernel started., type: str, sample: "2026-11-20T08:00:00Z"}
    addresses: {description: Address to interface., type: dict, sample: {10.20.1.11: eth1}}
    namespaces: {description: Network namespaces with processes in them., type: list, elements: dict}
    listeners: {description: "Listening TCP and unconnected UDP sockets of all of these, with their owners.", type: list, elements: dict}
    processes: {description: What runs of vLLM and its surroundings., type: list, elements: dict}
    nftables: {description: The rule set in force as C(nft -j) tells it., type: list, elements: dict}
    legacy_tables: {description: Tables of iptables-legacy in the kernel., type: dict, sample: {ipv4: [], ipv6: []}}
    units: {description: Properties in force of the units concerned., type: dict}
    files: {description: "Owners, modes and times of files.", type: list, elements: dict}
    sysctl: {description: Kernel settings., type: dict, sample: {kernel.core_pattern: core}}
    users: {description: Accounts., type: list, elements: dict}
    rdma_devices: {description: RDMA devices., type: list, elements: dict}
    packages: {description: "Installed versions, C(null) where not installed.", type: dict, sample: {nginx: 1.26.3-3}}
    proxies: {description: Configuration files of each nginx that runs., type: list, elements: dict}
    unknown: {description: "What could not be looked at, with the reason.", type: list, elements: dict}
"""

import glob
import os
import platform
import re
import socket
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hardened.vllm.plugins.module_utils import (
    audit_files,
    audit_force,
    audit_processes,
    audit_sockets,
    probe_host,
    probe_network,
)
from ansible_collections.hardened.vllm.plugins.module_utils.probe_common import Timed, Unknown, under

FORMAT = 1
# A dead mount, or a file system of somebody who means it, may never answer.
FACT_SECONDS = 120
OWN_PATHS = (
    "/etc/hardened-vllm",
    "/var/lib/hardened-vllm",
    "/run/hardened-vllm-gateway",
    "/run/hardened-vllm-engine*",
    "/run/vllm*",
)
# A host may run several engines, each with directories of its own.
OWN_TREES = (
    "/opt/hardened-vllm",
    "/opt/hardened-vllm/engine",
    "/var/cache/vllm*",
    "/var/lib/vllm*",
    "/var/log/hardened-vllm-gateway",
)
SYSCTLS = (
    "fs.suid_dumpable",
    "kernel.core_pattern",
    "kernel.kptr_restrict",
    "kernel.yama.ptrace_scope",
    "net.ipv4.conf.all.route_localnet",
    "net.ipv4.ip_forward",
    "net.ipv6.conf.all.forwarding",
    *probe_host.SYSCTLS,
)
# Options whose value is a file or folder a process depends on.
FILE_OPTIONS = ("--config", "--ssl-keyfile", "--ssl-certfile", "--ssl-ca-certs", "--chat-template")
TREE_OPTIONS = ("--model", "--download-dir", "--tokenizer", "--lora-modules")
TREE_VARIABLES = ("HF_HOME", "HF_HUB_CACHE", "VLLM_CACHE_ROOT", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")
TLS_KEY = re.compile(r"^\s*ssl_(?:certificate|certificate_key|trusted_certificate)\s+[\"']?(/[^\s;\"']+)", re.MULTILINE)


def named_paths(found):
    """Paths that processes name: (those told whole, those told as trees), each below the host's own root."""
    files, trees = [], []
    for process in found:
        # The paths of a container are its own, and its files are not looked at; only in one of ours are they the host's.
        foreign = process["container"] and not (process["unit"] or "").startswith("hardened-vllm-")
        if foreign or process["kind"] != "vllm":
            continue
        words = process["argv"]
        for index, word in enumerate(words):
            name, equals, value = word.partition("=")
            value = value if equals else (words[index + 1] if index + 1 < len(words) else "")
            if value.startswith("/") and name in FILE_OPTIONS:
                files.append(value)
            if value.startswith("/") and (name in TREE_OPTIONS or name == "serve"):
                trees.append(value)
        for name in TREE_VARIABLES:
            value = (process["environment"] or {}).get(name) or ""
            if value.startswith("/"):
                trees.append(value)
    return files, trees


def expanded(root, patterns):
    """Return the paths that exist for ``patterns``, as seen below ``root``."""
    found = (path for pattern in patterns for path in sorted(glob.glob(under(root, pattern))))
    return ["/" + os.path.relpath(path, root) for path in found]


def files(root, params, units, found, proxies, unknown):
    """Return what is told of files: what was asked for, what is ours, and what processes, units and proxies name."""
    own, trees = named_paths(found or [])
    for properties in (units or {}).values():
        own += [path for path in [properties.get("FragmentPath"), *properties.get("DropInPaths", "").split()] if path]
    own += [path for proxy in proxies or [] for path in TLS_KEY.findall(proxy["text"])]
    own += [proxy["path"] for proxy in proxies or []]
    own = [os.path.normpath(path) for path in own]
    told = audit_files.listed(root, [*expanded(root, OWN_PATHS), *params["paths"], *own], unknown)
    seen = {entry["path"] for entry in told}
    wide = audit_files.remarkable(
        root, [*expanded(root, OWN_TREES), *params["trees"], *(os.path.normpath(path) for path in trees)], unknown
    )
    unique = {entry["path"]: entry for entry in wide if entry["path"] not in seen}
    return sorted([*told, *unique.values()], key=lambda entry: entry["path"])


def collect(params, root="/"):
    """All evidence of this host."""
    started = time.time()
    gather = Timed(FACT_SECONDS)
    unknown = gather.unknown
    proc = under(root, "/proc")
    facts = gather.facts
    facts.update(format=FORMAT, kind="host", host=socket.gethostname(), taken=audit_processes.moment(started))
    facts["privileged"] = os.geteuid() == 0
    if not facts["privileged"]:
        gather.note("privileged", "not root: what belongs to others cannot be seen whole")
    gather.add("os", probe_host.os_release, root)
    facts["kernel"] = platform.release()
    gather.add("booted", lambda: audit_processes.moment(audit_processes.booted(proc)))
    gather.add("addresses", lambda: probe_network.address_map(probe_network.interfaces()))
    table = gather.add("processes", audit_processes.table, proc)
    processes = list((table or {}).values())
    spaces = gather.add("namespaces", _needing(table, audit_sockets.namespaces), proc, table, unknown)
    gather.add("listeners", _needing(spaces, audit_sockets.listeners), proc, table, spaces, unknown)
    if table is not None:
        concerned = sorted((process for process in processes if process.kind), key=lambda process: process.pid)
        gather.add("processes", lambda: [audit_processes.facts(proc, process, unknown) for process in concerned])
    gather.add("nftables", audit_force.nftables, root)
    gather.add("legacy_tables", audit_force.legacy_tables, root)
    gather.add("units", lambda: audit_force.units(audit_force.unit_names(root, processes)))
    gather.add("proxies", _needing(table, audit_force.proxies), proc, processes, unknown)
    gather.add("files", files, root, params, facts["units"], facts["processes"], facts["proxies"], unknown)
    gather.add("sysctl", audit_force.sysctls, root, [*SYSCTLS, *params["sysctl"]], unknown)
    gather.add("users", audit_files.accounts, root, unknown)
    gather.add("rdma_devices", probe_host.rdma_devices, root)
    gather.add("packages", probe_host.packages, params["packages"])
    facts["seconds"] = round(time.time() - started, 2)
    facts["unknown"] = unknown
    return in_unicode(facts)


def in_unicode(value):
    """``value``, JSON types, whose texts can be sent: who may make a file may give it a name that is no UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {in_unicode(key): in_unicode(inner) for key, inner in value.items()}
    return [in_unicode(inner) for inner in value] if isinstance(value, list) else value


def _needing(needed, read):
    """``read``, or what says that it cannot be had because ``needed`` is not known."""

    def missing(*_arguments):
        raise Unknown("the processes of the host are not known")

    return read if needed is not None else missing


def main():
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "default": []},
            "trees": {"type": "list", "elements": "path", "default": []},
            "sysctl": {"type": "list", "elements": "str", "default": []},
            "packages": {
                "type": "list",
                "elements": "str",
                "default": [
                    "nginx",
                    "libnginx-mod-http-js",
                    "squid",
                    "nftables",
                    "python3",
                    "systemd",
                    "openssl",
                    "podman",
                    "docker.io",
                ],
            },
        },
        supports_check_mode=True,
    )
    for name in ("paths", "trees"):
        for path in module.params[name]:
            if not os.path.isabs(path):
                module.fail_json(msg="%s: found %r, expected an absolute path such as /srv/models." % (name, path))
    module.exit_json(changed=False, evidence=collect(module.params))


if __name__ == "__main__":
    main()
