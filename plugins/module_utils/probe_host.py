# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of the host itself: system, packages, disks, devices, kernel settings, what this collection installed."""

from __future__ import annotations

import glob
import os
import re
from typing import Any, Dict, List, Optional

from ansible_collections.hardened.vllm.plugins.module_utils.probe_common import Unknown, read_text, run, under

SYSCTLS = (
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv6.bindv6only",
    "net.ipv6.conf.all.disable_ipv6",
)
ACCELERATORS = ("/dev/nvidia*", "/dev/kfd", "/dev/dri/renderD*", "/dev/accel/accel*", "/dev/davinci[0-9]*")
STATE_DIRECTORY = "/etc/hardened-vllm"
ENGINE_ROOT = "/opt/hardened-vllm/engine"
IMAGES = "/var/lib/hardened-vllm/images"
QUADLETS = "/etc/containers/systemd/hardened-vllm-*"
QUADLET_GENERATOR = "/usr/lib/systemd/system-generators/podman-system-generator"


def os_release(root: str = "/") -> Dict[str, str]:
    """Id (debian), version (12), codename (bookworm) and name of the distribution, from os-release."""
    values = {}
    for line in read_text(under(root, "/etc/os-release")).splitlines():
        key, separator, value = line.partition("=")
        if separator:
            values[key.strip()] = value.strip().strip("\"'")
    return {
        "id": values["ID"],
        "version": values.get("VERSION_ID", ""),
        "codename": values.get("VERSION_CODENAME", ""),
        "name": values.get("PRETTY_NAME", values["ID"]),
    }


def systemd(root: str = "/") -> Dict[str, Any]:
    """Version (number) of systemd, and whether it is the running init."""
    match = re.match(r"systemd (\d+)", run(["systemctl", "--version"]))
    if match is None:
        raise Unknown("systemctl --version printed no version")
    return {"version": int(match.group(1)), "running": os.path.isdir(under(root, "/run/systemd/system"))}


def packages(names: List[str]) -> Dict[str, Optional[str]]:
    """Name to installed version, null when the package is not installed. Debian and its relatives."""
    if not names:
        return {}
    # Code 1: at least one name is not known to dpkg, the others are still printed.
    text = run(
        ["dpkg-query", "--show", "--showformat=${Package}\\t${db:Status-Status}\\t${Version}\\n", "--", *names],
        accept=(0, 1),
    )
    found: Dict[str, Optional[str]] = dict.fromkeys(names)
    for line in text.splitlines():
        name, state, version = line.split("\t")
        if state == "installed" and name in found:
            found[name] = version
    return found


def disks(paths: List[str], root: str = "/") -> Dict[str, Dict[str, Any]]:
    """Path to the space (bytes, inodes) of the file system it lies on or will lie on, and that existing ancestor."""
    found = {}
    for path in paths:
        place = under(root, path)
        while not os.path.exists(place):
            place = os.path.dirname(place)
        state = os.statvfs(place)
        found[path] = {
            "ancestor": "/" + os.path.relpath(place, root) if place != root else "/",
            "free_bytes": state.f_bavail * state.f_frsize,
            "total_bytes": state.f_blocks * state.f_frsize,
            "free_inodes": state.f_favail,
        }
        if found[path]["ancestor"] == "/.":
            found[path]["ancestor"] = "/"
    return found


def rdma_devices(root: str = "/") -> List[Dict[str, Any]]:
    """RDMA devices (their traffic passes netfilter by): name, link layers of the ports, network interfaces beneath."""
    base = under(root, "/sys/class/infiniband")
    if not os.path.isdir(base):
        return []
    found = []
    for name in sorted(os.listdir(base)):
        layers = sorted(
            {read_text(path).strip() for path in glob.glob("%s/%s/ports/*/link_layer" % (base, glob.escape(name)))}
        )
        networks = sorted(
            os.path.basename(path) for path in glob.glob("%s/%s/device/net/*" % (base, glob.escape(name)))
        )
        found.append({"name": name, "link_layers": layers, "interfaces": networks})
    return found


def accelerators(root: str = "/") -> List[str]:
    """Device nodes of accelerators."""
    return sorted(
        "/" + os.path.relpath(path, root) for pattern in ACCELERATORS for path in glob.glob(under(root, pattern))
    )


def sysctls(root: str = "/") -> Dict[str, Optional[str]]:
    """Kernel settings the plan may change, white space normalised; null when the kernel has no such setting."""
    found: Dict[str, Optional[str]] = {}
    for name in SYSCTLS:
        path = under(root, "/proc/sys/" + name.replace(".", "/"))
        found[name] = " ".join(read_text(path).split()) if os.path.exists(path) else None
    return found


def installed(root: str = "/") -> Dict[str, Any]:
    """Return what this collection left on the host: files, units, engine releases with their vLLM version, images."""
    etc = under(root, STATE_DIRECTORY)
    files = sorted(
        "/" + os.path.relpath(os.path.join(base, name), root) for base, _dirs, names in os.walk(etc) for name in names
    )
    units = sorted(
        "/" + os.path.relpath(path, root)
        for pattern in ("/etc/systemd/system/hardened-vllm-*", QUADLETS)
        for path in glob.glob(under(root, pattern))
    )
    engines = []
    for path in sorted(glob.glob(under(root, ENGINE_ROOT + "/*/"))):
        release = os.path.basename(path.rstrip("/"))
        engines.append({"release": release, "path": "%s/%s" % (ENGINE_ROOT, release), "vllm": _vllm_version(path)})
    images = [read_text(path).strip() for path in sorted(glob.glob(under(root, IMAGES + "/*")))]
    return {"files": files, "units": units, "engines": engines, "images": images}


def _vllm_version(path: str) -> Optional[str]:
    """Version of the distribution `vllm` inside a venv; null when it holds none (an unfinished installation)."""
    for entry in sorted(glob.glob(os.path.join(glob.escape(path), "lib*/python3*/site-packages/vllm-*.dist-info"))):
        return os.path.basename(entry)[len("vllm-") : -len(".dist-info")]
    return None


def cgroup(root: str = "/") -> str:
    """`unified` (v2), `hybrid` (v1 with v2 beside) or `legacy` (v1)."""
    mounts = {}
    for line in read_text(under(root, "/proc/self/mountinfo")).splitlines():
        left, separator, right = line.partition(" - ")
        if separator:
            mounts[left.split()[4]] = right.split()[0]
    if mounts.get("/sys/fs/cgroup") == "cgroup2":
        return "unified"
    kinds = {kind for place, kind in mounts.items() if place.startswith("/sys/fs/cgroup/")}
    if "cgroup" in kinds:
        return "hybrid" if "cgroup2" in kinds else "legacy"
    raise Unknown("no cgroup file system is mounted on /sys/fs/cgroup")


def podman(root: str = "/") -> Dict[str, Any]:
    """Version of podman, null without one, and whether it makes units of systemd from Quadlets."""
    if not any(os.path.exists(under(root, path)) for path in ("/usr/bin/podman", "/usr/local/bin/podman")):
        return {"version": None, "quadlet": False}
    match = re.match(r"podman version (\S+)", run(["podman", "--version"]))
    if match is None:
        raise Unknown("podman --version printed no version")
    return {"version": match.group(1), "quadlet": os.path.exists(under(root, QUADLET_GENERATOR))}


def memory_bytes(root: str = "/") -> int:
    """Bytes of main memory."""
    match = re.search(r"(?m)^MemTotal:\s+(\d+) kB", read_text(under(root, "/proc/meminfo")))
    if match is None:
        raise Unknown("/proc/meminfo has no MemTotal")
    return int(match.group(1)) * 1024
