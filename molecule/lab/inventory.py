"""The lab as an Ansible inventory."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import yaml

from lab.connections import control_path
from lab.credentials import Credentials
from lab.paths import IMAGES_IN_NODE, MODELS_IN_NODE, STATE, VLLM_IN_NODE, WHEELS_IN_NODE, write_file
from lab.spec import LabSpec, NodeSpec, controller_address, interface_name


def content(spec: LabSpec, credentials: Credentials) -> dict[str, Any]:
    """Return the inventory: hosts with connection variables and ``vllm_node``, groups, and ``lab`` for all.

    ``lab`` holds ``name``, ``directory``, ``networks`` (name -> subnets), ``controller`` (network -> this machine's
    addresses), ``vllm_venv``, ``models`` and ``wheels`` (paths in the nodes that have them), ``images`` (directory: a path in a registry's node, digests: a
    file here) and ``tls`` (ca, certificate, key: files here).
    """
    groups: dict[str, dict[str, Any]] = {}
    for node in spec.nodes:
        for group in node.groups:
            groups.setdefault(group, {"hosts": {}})["hosts"][node.name] = None
    shared: dict[str, Any] = {
        "name": spec.name,
        "directory": str(credentials.directory),
        "networks": {name: [str(subnet) for subnet in network.subnets] for name, network in spec.networks.items()},
        "controller": {
            name: [str(controller_address(subnet)) for subnet in network.subnets]
            for name, network in spec.networks.items()
        },
        "vllm_venv": VLLM_IN_NODE,
        "wheels": WHEELS_IN_NODE,
        "models": MODELS_IN_NODE,
        "images": {"directory": IMAGES_IN_NODE, "digests": str(STATE / "vllm" / "image" / "images.json")},
    }
    if spec.tls:
        shared["tls"] = {
            "ca": str(credentials.ca),
            "certificate": str(credentials.certificate),
            "key": str(credentials.key),
        }
    return {
        "all": {
            "vars": {
                "ansible_user": "root",
                "ansible_python_interpreter": "/usr/bin/python3",
                "ansible_ssh_private_key_file": str(credentials.ssh_key),
                "ansible_ssh_common_args": shlex.join(credentials.ssh_options()[2:]),
                # Doubled for Ansible, which formats the value; the lab closes these connections when it reboots a node.
                "ansible_control_path": str(control_path(spec.name)).replace("%", "%%"),
                "lab": shared,
            },
            "hosts": {node.name: _host(spec, node) for node in spec.nodes},
            "children": groups,
        }
    }


def _host(spec: LabSpec, node: NodeSpec) -> dict[str, Any]:
    return {
        "ansible_host": str(spec.reached_by(node)),
        "vllm_node": {
            "addresses": {
                network: [str(address) for address in spec.addresses(node, network)] for network in node.networks
            },
            "interfaces": {network: interface_name(network) for network in node.networks},
        },
    }


def path(lab: str) -> Path:
    """Return the inventory file of a lab."""
    return STATE / lab / "inventory" / "hosts.yml"


def write(spec: LabSpec, credentials: Credentials, group_vars: Path) -> Path:
    """Write the inventory; a file with the same content is left alone. Returns its path.

    ``group_vars`` is linked beside it when there is such a directory.
    """
    text = "---\n# Written by 'lab up'; changes are lost.\n" + yaml.safe_dump(
        content(spec, credentials), sort_keys=False
    )
    write_file(path(spec.name), text, 0o600)
    link = path(spec.name).with_name("group_vars")
    link.unlink(missing_ok=True)
    if group_vars.is_dir():
        link.symlink_to(group_vars.resolve())
    return path(spec.name)
