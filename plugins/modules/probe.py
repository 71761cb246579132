#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: probe
short_description: Gather everything planning and preflight need to know about a host
version_added: "0.1.0"
author:
  - hardened.vllm maintainers (@hardened-vllm)
description:
  - Reads the host in one remote execution and changes nothing.
  - A fact that cannot be had (a missing tool, an unreadable file) is C(null) and is named with its reason in
    C(unknown); it never fails the module.
options:
  packages:
    description: Debian packages whose installed versions are wanted.
    type: list
    elements: str
    default: []
  disk_paths:
    description: >-
      Absolute paths whose free space is wanted; a path that does not exist yet counts for its nearest
      existing ancestor.
    type: list
    elements: path
    default: []
  models:
    description: Directories of models whose C(config.json) is wanted.
    type: list
    elements: path
    default: []
  names:
    description: Names of hosts this host has to resolve.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description: Runs the same in check mode, it only reads.
  diff_mode:
    support: none
    description: Changes nothing, so there is nothing to show.
notes:
  - Names of listening processes of other users and the legacy iptables tables are only visible to root.
"""

EXAMPLES = r"""
- name: Look at the host
  hardened.vllm.probe:
    packages: [nftables, nginx]
    disk_paths: [/opt/hardened-vllm]
  register: host_probe

- name: Say who listens
  ansible.builtin.debug:
    msg: "{{ host_probe.probe.listeners }}"
"""

RETURN = r"""
probe:
  description: The facts. Every key is always there; a fact that is not known is C(null).
  returned: always
  type: dict
  contains:
    hostname:
      description: Name of the host as the kernel knows it.
      type: str
      sample: engine1
    name_resolution:
      description: >-
        What that name resolves to on the host itself. C(loopback) is true when one of the C(addresses) is a loopback
        address (Debian's 127.0.1.1): then programs that ask for their own address tell it to their peers.
      type: dict
      sample: {addresses: [127.0.1.1], loopback: true}
    operator:
      description: Far and near end of the SSH connection this very run came in on; C(null) for a local connection.
      type: dict
      sample: {address: 10.203.2.1, port: 50022, local_address: 10.203.2.11, local_port: 22}
    os:
      description: Distribution, from os-release.
      type: dict
      sample: {id: debian, version: "12", codename: bookworm, name: Debian GNU/Linux 12 (bookworm)}
    kernel:
      description: Kernel release.
      type: str
      sample: 6.1.0-37-amd64
    architecture:
      description: Machine type.
      type: str
      sample: x86_64
    python:
      description: Version and path of the interpreter that ran the module.
      type: dict
      sample: {version: 3.11.2, executable: /usr/bin/python3}
    systemd:
      description: Version of systemd and whether it is the running init.
      type: dict
      sample: {version: 252, running: true}
    cgroup:
      description: Control group hierarchy.
      type: str
      sample: unified
    podman:
      description: Version of podman, C(null) without one, and whether it makes units of systemd from Quadlets.
      type: dict
      sample: {version: 5.4.2, quadlet: true}
    cpus:
      description: Logical processors this process may use.
      type: int
      sample: 64
    memory_bytes:
      description: Main memory.
      type: int
      sample: 1081994649600
    interfaces:
      description: Network interfaces with their addresses.
      type: list
      elements: dict
      sample:
        - name: eth0
          type: ether
          state: up
          mtu: 1500
          mac: 7a:6f:17:12:34:56
          addresses:
            - {address: 10.203.1.11, prefix: 24, family: ipv4, scope: global, tentative: false}
    addresses:
      description: Address to interface name; link-local addresses are left out because they repeat.
      type: dict
      sample: {10.203.1.11: eth0, "fd77:1::11": eth0}
    listeners:
      description: Listening TCP and unconnected UDP sockets of the host's network namespace.
      type: list
      elements: dict
      sample:
        - protocol: tcp
          family: ipv4
          address: 0.0.0.0
          port: 22
          processes: [{pid: 410, name: sshd}]
    nftables:
      description: Tables in the kernel, which of them is C(own), and their base chains.
      type: list
      elements: dict
      sample:
        - family: inet
          name: filter
          own: false
          hooks: [{chain: input, type: filter, hook: input, priority: 0, policy: accept}]
    counts_connections:
      description: Whether nft and the kernel (C(nft_connlimit)) can count the connections of each source.
      type: bool
      sample: true
    firewalls:
      description: >-
        Other packet filter tools seen, with the evidence. Possible keys: ufw, firewalld, docker, podman, kube-proxy,
        cilium, calico, libvirt, fail2ban, crowdsec, nftables.service, iptables-legacy.
      type: dict
      sample: {ufw: [/etc/ufw/ufw.conf says ENABLED=yes]}
    packages:
      description: Requested package to installed version, C(null) where not installed.
      type: dict
      sample: {nftables: 1.0.6-2+deb12u2, nginx: null}
    tools:
      description: Program to absolute path, C(null) where missing (nft, ip, systemd-run, sysctl).
      type: dict
      sample: {nft: /usr/sbin/nft, ip: /usr/sbin/ip, systemd-run: /usr/bin/systemd-run, sysctl: null}
    disks:
      description: >-
        Requested path to the space on its file system; C(ancestor) is the existing directory that was measured.
      type: dict
      sample:
        /opt/hardened-vllm: {ancestor: /opt, free_bytes: 53687091200, total_bytes: 107374182400, free_inodes: 6500000}
    sysctl:
      description: Kernel settings that matter for port planning; C(null) where the kernel has no such setting.
      type: dict
      sample: {net.ipv4.ip_local_port_range: 32768 60999, net.ipv4.ip_local_reserved_ports: ""}
    rdma_devices:
      description: RDMA devices; their traffic does not pass netfilter.
      type: list
      elements: dict
      sample: [{name: mlx5_0, link_layers: [InfiniBand], interfaces: [ib0]}]
    accelerators:
      description: Device nodes of accelerators.
      type: list
      elements: str
      sample: [/dev/nvidia0, /dev/nvidiactl]
    models:
      description: >-
        Sizes of each model asked for, from its C(config.json), by path; C(null) when there is none to read. Keys are
        C(attention_heads), C(key_value_heads), C(layers) and C(experts), each C(null) when the file does not say.
      type: dict
      sample: {/srv/models/example: {attention_heads: 32, key_value_heads: 8, layers: 32, experts: null}}
    names:
      description: Addresses of each name asked for; an empty list when it does not resolve.
      type: dict
      sample: {packages.example.org: [192.0.2.80]}
    installed:
      description: What this collection installed before. C(vllm) is null in an unfinished installation.
      type: dict
      sample:
        files: [/etc/hardened-vllm/firewall.nft]
        units: [/etc/systemd/system/hardened-vllm-engine.service]
        engines: [{release: 0.32.0, path: /opt/hardened-vllm/engine/0.32.0, vllm: 0.32.0}]
        images: []
    unknown:
      description: Facts that could not be had, or only in part, with the reason.
      type: list
      elements: dict
      sample: [{fact: nftables, reason: the program nft is not installed}]
"""

import os
import platform
import socket
import sys

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hardened.vllm.plugins.module_utils import (
    probe_firewalls,
    probe_host,
    probe_model,
    probe_network,
)
from ansible_collections.hardened.vllm.plugins.module_utils.probe_common import Collector, Unknown, find_tool

TOOLS = ("nft", "ip", "systemd-run", "sysctl")


def tools():
    """Tool name to absolute path or None."""
    found = {}
    for name in TOOLS:
        try:
            found[name] = find_tool(name)
        except Unknown:  # its absence is the fact
            found[name] = None
    return found


def collect(packages, disk_paths, models=(), names=(), root="/"):
    """All facts of this host, as documented in RETURN."""
    gather = Collector()
    hostname = gather.add("hostname", socket.gethostname)
    gather.add("name_resolution", probe_network.name_resolution, hostname)
    gather.add("operator", probe_network.operator, root)
    gather.add("os", probe_host.os_release, root)
    gather.add("kernel", platform.release)
    gather.add("architecture", platform.machine)
    gather.add("python", lambda: {"version": platform.python_version(), "executable": sys.executable})
    gather.add("systemd", probe_host.systemd, root)
    gather.add("cgroup", probe_host.cgroup, root)
    gather.add("podman", probe_host.podman, root)
    gather.add("cpus", lambda: len(os.sched_getaffinity(0)))
    gather.add("memory_bytes", probe_host.memory_bytes, root)
    links = gather.add("interfaces", probe_network.interfaces)
    gather.add("addresses", probe_network.address_map, links)
    gather.add("listeners", probe_network.listeners, root)
    objects = gather.add("nftables", probe_firewalls.ruleset_objects)
    if objects is not None:
        gather.add("nftables", probe_firewalls.tables, objects)
    gather.add("counts_connections", probe_firewalls.counts_connections)
    gather.add("firewalls", probe_firewalls.other_firewalls, root, objects, links)
    gather.add("packages", probe_host.packages, packages)
    gather.add("tools", tools)
    gather.add("disks", probe_host.disks, disk_paths, root)
    gather.add("sysctl", probe_host.sysctls, root)
    gather.add("rdma_devices", probe_host.rdma_devices, root)
    gather.add("accelerators", probe_host.accelerators, root)
    gather.add("models", probe_model.models, models, root)
    gather.add("names", probe_network.resolved, names)
    gather.add("installed", probe_host.installed, root)
    if os.geteuid() != 0:
        gather.note("listeners", "not root: processes of other users have no name")
        gather.note("firewalls", "not root: only part of the evidence is visible")
    gather.facts["unknown"] = gather.unknown
    return gather.facts


def main():
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "default": []},
            "disk_paths": {"type": "list", "elements": "path", "default": []},
            "models": {"type": "list", "elements": "path", "default": []},
            "names": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    for path in module.params["disk_paths"]:
        if not os.path.isabs(path):
            module.fail_json(msg="disk_paths: found %r, expected an absolute path such as /opt/hardened-vllm." % path)
    wanted = [module.params[name] for name in ("packages", "disk_paths", "models", "names")]
    module.exit_json(changed=False, probe=collect(*wanted))


if __name__ == "__main__":
    main()
