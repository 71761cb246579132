# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Volumes other hosts write to as well: network file systems under containers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ..conditions import network_path
from ..texts import Text
from .yaml_reading import Map, items, mapping, scalar

_NETWORK = (
    r"nfs\d?|efs|fsx|cifs|smb\d?|ceph(?!\.com)(fs)?|gluster(fs)?|lustre|gpfs|beegfs|juicefs|weka(fs)?"
    r"|azure-?file|file\.csi\.azure|filestore|sshfs|s3(fs)?|gcsfuse|rclone"
)
_TYPE = re.compile(rf"(?i)(.*[^a-z])?({_NETWORK})([^a-z].*)?")
# Kinds of Kubernetes volumes that are shares by what they are.
_KINDS = ("nfs", "cephfs", "glusterfs", "azureFile")


def network_type(written: str) -> bool:
    """Tell whether ``written``, a type or a driver of volumes, is a network file system's."""
    return _TYPE.fullmatch(written) is not None


def of_compose(volume: Any) -> Text | None:
    """Return what makes a named volume of a compose file a share, None when nothing does."""
    driver = scalar(mapping(volume).get("driver"))
    options = mapping(mapping(volume).get("driver_opts"))
    kind, device = scalar(options.get("type")), scalar(options.get("device"))
    for found in (kind, driver):
        if found is not None and network_type(found):
            return found
    return device if device is not None and network_path(device) else None


def of_mount(written: Text) -> Text | None:
    """Return what makes the volume of ``--mount type=volume,volume-opt=type=nfs,...`` a share."""
    match = re.search(r"volume-(?:opt=\"?type|driver)=([^,\"]+)", written)
    return written.become(match[1]) if match is not None and network_type(match[1]) else None


def of_pods(spec: Map, claim: Callable[[str], Map | None]) -> dict[str, Text]:
    """Return the shares among the volumes of a pod, by name; ``claim`` returns a PersistentVolumeClaim at hand."""
    found: dict[str, Text] = {}
    for volume in map(mapping, items(spec.get("volumes"))):
        name = scalar(volume.get("name"))
        share = _of_volume(volume, claim)
        if name is not None and share is not None:
            found[str(name)] = share
    return found


def _of_volume(volume: Map, claim: Callable[[str], Map | None]) -> Text | None:
    for kind in _KINDS:
        if kind in volume:
            return volume.key(kind)
    driver = scalar(mapping(volume.get("csi")).get("driver"))
    if driver is not None and network_type(driver):
        return driver
    name = scalar(mapping(volume.get("persistentVolumeClaim")).get("claimName"))
    held = claim(str(name)) if name is not None else None
    modes = items(mapping(mapping(held).get("spec")).get("accessModes"))
    return next((mode for mode in modes if isinstance(mode, Text) and mode == "ReadWriteMany"), None)


def of_unit(settings: Mapping[str, list[Text]]) -> Text | None:
    """Return what makes the volume of a Quadlet ``.volume`` file a share."""
    for key in ("Type", "Driver", "Device"):
        for value in settings.get(key, []):
            if network_type(value) if key != "Device" else network_path(value):
                return value
    return None
