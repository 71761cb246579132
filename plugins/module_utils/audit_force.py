# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd, the packet filter, the kernel and the proxies of a host have in force."""

from __future__ import annotations

import glob
import json
import os
import re
import stat
from typing import Any, Dict, Iterable, List, Optional

from ansible_collections.hardened.vllm.plugins.module_utils import audit_secrets
from ansible_collections.hardened.vllm.plugins.module_utils.audit_processes import Process
from ansible_collections.hardened.vllm.plugins.module_utils.firewall_common import without_counted
from ansible_collections.hardened.vllm.plugins.module_utils.probe_common import (
    Unknown,
    read_optional,
    read_text,
    run,
    under,
)

PROPERTIES = (
    "Id", "LoadState", "ActiveState", "SubState", "UnitFileState", "FragmentPath", "SourcePath", "DropInPaths", "NeedDaemonReload", "MainPID",
    "ActiveEnterTimestamp", "User", "Group", "DynamicUser", "UMask", "Requires", "After", "BindsTo",
    "CapabilityBoundingSet", "AmbientCapabilities", "NoNewPrivileges", "PrivateUsers", "RestrictSUIDSGID", "RestrictRealtime",
    "RestrictNamespaces", "LockPersonality", "KeyringMode", "RemoveIPC", "PrivateIPC", "SystemCallArchitectures",
    "SystemCallFilter", "ProtectSystem", "ProtectHome", "PrivateTmp", "ProtectProc", "ProtectClock", "ProtectHostname",
    "ProtectControlGroups", "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables", "TemporaryFileSystem",
    "InaccessiblePaths", "ReadOnlyPaths", "ReadWritePaths", "BindPaths", "DevicePolicy", "PrivateDevices", "DeviceAllow",
    "IPAddressAllow", "IPAddressDeny", "RestrictAddressFamilies", "PrivateNetwork", "LimitCORE", "LimitNOFILE", "MemoryMax",
    "TasksMax", "StateDirectoryMode", "CacheDirectoryMode", "RuntimeDirectoryMode", "MemoryDenyWriteExecute",
)  # fmt: skip
OWN_UNITS = "/etc/systemd/system/hardened-vllm-*"
OWN_QUADLETS = "/etc/containers/systemd/hardened-vllm-*.container"
PROXY_FILES = ("/etc/nginx/nginx.conf", "/etc/nginx/conf.d/*.conf", "/etc/nginx/sites-enabled/*")
PROXY_BYTES = 256 << 10
_LEGACY = (("ipv4", "/proc/net/ip_tables_names"), ("ipv6", "/proc/net/ip6_tables_names"))


def unit_names(root: str, processes: Iterable[Process]) -> List[str]:
    """Return the services of this collection and those that started what belongs to vLLM or serves as a proxy."""
    own = [os.path.basename(path) for path in glob.glob(under(root, OWN_UNITS)) if path.endswith(".service")]
    own += [os.path.basename(path)[: -len("container")] + "service" for path in glob.glob(under(root, OWN_QUADLETS))]
    foreign = [
        process.unit for process in processes if process.unit and (process.kind or process.name in ("nginx", "squid"))
    ]
    return sorted({name for name in own + foreign if name.endswith(".service")})


def units(names: List[str]) -> Dict[str, Dict[str, str]]:
    """Return the properties in force of each unit, and its lines under ``FragmentText`` with secrets as digests."""
    if not names:
        return {}
    text = run(["systemctl", "show", "--no-pager", "--property", ",".join(PROPERTIES), "--", *names])
    found: Dict[str, Dict[str, str]] = {}
    blocks = text.strip("\n").split("\n\n")
    if len(blocks) != len(names):
        raise Unknown("systemctl told of %d units when asked for %d" % (len(blocks), len(names)))
    for index, name in enumerate(names):
        properties = dict(line.split("=", 1) for line in blocks[index].splitlines() if "=" in line)
        lines = run(["systemctl", "cat", "--no-pager", "--", name], accept=(0, 1))
        found[name] = {**properties, "FragmentText": audit_secrets.text(lines)}
    return found


def nftables(root: str) -> List[Dict[str, Any]]:
    """Return the objects of the rule set in force; nothing where asking would make the kernel load the module first.

    Without the clients that are connected just now: they are nobody's fault, and there may be many.
    """
    if not _has_nftables(root):
        return []
    return [
        without_counted(entry) for entry in json.loads(run(["nft", "-j", "list", "ruleset"], timeout=60))["nftables"]
    ]


def _has_nftables(root: str) -> bool:
    if os.path.isdir(under(root, "/sys/module/nf_tables")):
        return True
    modules = under(root, "/lib/modules/%s" % os.uname().release)
    # Without a directory of modules none can be loaded, so asking is harmless.
    if not os.path.exists(modules + "/modules.dep"):
        return True
    return "/nf_tables.ko" in read_optional(modules + "/modules.builtin")


def legacy_tables(root: str) -> Dict[str, List[str]]:
    """Return the tables of iptables-legacy in the kernel, by family."""
    found = {}
    for family, path in _LEGACY:
        place = under(root, path)
        found[family] = read_text(place).split() if os.path.exists(place) else []
    return found


def sysctls(root: str, names: Iterable[str], unknown: List[Dict[str, str]]) -> Dict[str, Optional[str]]:
    """Return kernel settings, white space normalised; None where the kernel has no such setting, without those that cannot be read."""
    found: Dict[str, Optional[str]] = {}
    for name in dict.fromkeys(names):
        path = under(root, "/proc/sys/" + name.replace(".", "/"))
        try:
            found[name] = " ".join(read_text(path).split()) if os.path.exists(path) else None
        except Unknown as error:
            unknown.append({"fact": "sysctl:%s" % name, "reason": str(error)})
    return found


def proxies(proc: str, processes: Iterable[Process], unknown: List[Dict[str, str]]) -> List[Dict[str, str]]:
    """Return the configuration files of every nginx that runs, read below the root it sees, secrets as digests."""
    found: Dict[str, Dict[str, str]] = {}
    for process in processes:
        if process.name != "nginx" or not process.words or "master process" not in process.words[0]:
            continue
        base = "%s/%d/root" % (proc, process.pid)
        patterns = list(PROXY_FILES)
        named = re.search(r"\s-c\s+(\S+)", " ".join(process.words))
        if named:
            patterns = [named[1], os.path.dirname(named[1]) + "/*.conf"]
        for pattern in patterns:
            for path in sorted(glob.glob(base + pattern))[:64]:
                shown = path[len(base) :]
                try:
                    text = read_text(path, lambda state, process=process: may_read(process, state))  # type: ignore[misc]
                except Unknown as error:
                    unknown.append({"fact": "proxies:%s" % shown, "reason": str(error)})
                    continue
                if len(text) > PROXY_BYTES:
                    unknown.append({"fact": "proxies:%s" % shown, "reason": "longer than %d characters" % PROXY_BYTES})
                    continue
                found.setdefault(shown, {"path": shown, "text": audit_secrets.text(text)})
    return [found[path] for path in sorted(found)]


def may_read(process: Process, state: os.stat_result) -> bool:
    """Tell whether a process could read a file: any user may start a process that calls itself nginx and names a file of root's."""
    if process.uid == 0 or state.st_mode & stat.S_IROTH:
        return True
    if state.st_uid == process.uid:
        return bool(state.st_mode & stat.S_IRUSR)
    groups = process.status.get("Gid", "").split()[1:2] + process.status.get("Groups", "").split()
    return bool(state.st_mode & stat.S_IRGRP) and str(state.st_gid) in groups
