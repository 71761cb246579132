# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Caches of pickles on what other hosts write to as well, wherever that is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.artefacts import lint_paths, lint_text
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.conditions import network_path
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.reading.shares import network_type

RULE = "cache-network"


def said(text: str, kind: str) -> list[tuple[int, str]]:
    return [(finding.line, finding.found) for finding in lint_text(text, kind) if finding.rule == RULE]


@pytest.mark.parametrize(
    "path", ["/mnt/nfs/cache", "/mnt/efs-data/vllm", "/srv/shared_nfs4/x", "/lustre", "10.0.0.9:/export", "//nas/share"]
)
def test_paths_of_shares(path: str) -> None:
    assert network_path(path)
    assert said(f"VLLM_CACHE_ROOT={path} vllm serve /m", "script") == [(1, path)]


@pytest.mark.parametrize(
    "path",
    ["/var/cache/vllm", "/srv/confs/x", "/data/prefs", "/opt/smbios", "https://nfs.example.org/x", "/home/nefsky"],
)
def test_paths_of_the_host(path: str) -> None:
    assert not network_path(path)
    assert said(f"VLLM_CACHE_ROOT={path} vllm serve /m", "script") == []


@pytest.mark.parametrize(
    ("driver", "share"),
    [
        ("nfs", True),
        ("nfs.csi.k8s.io", True),
        ("efs.csi.aws.com", True),
        ("file.csi.azure.com", True),
        ("cephfs.csi.ceph.com", True),
        ("rbd.csi.ceph.com", False),
        ("ebs.csi.aws.com", False),
        ("disk.csi.azure.com", False),
        ("local", False),
        ("tmpfs", False),
    ],
)
def test_drivers(driver: str, share: bool) -> None:
    assert network_type(driver) is share


COMPOSE = """\
services:
  vllm:
    image: vllm/vllm-openai:v0.32.0
    volumes: ["VOLUME:PLACE"]
    environment: {ENVIRONMENT}
volumes:
  cache: {DEFINED}
"""
NFS = 'driver_opts: {type: nfs, device: ":/cache"}'


@pytest.mark.parametrize(
    ("volume", "place", "environment", "defined", "found"),
    [
        ("cache", "/root/.cache", "A: b", NFS, ["/root/.cache/vllm on nfs"]),
        ("cache", "/root/.cache/vllm", "A: b", "driver: glusterfs", ["/root/.cache/vllm on glusterfs"]),
        ("cache", "/root", "A: b", 'driver_opts: {device: "10.0.0.9:/x"}', ["/root/.cache/vllm on 10.0.0.9:/x"]),
        ("cache", "/home/vllm/.cache", "HOME: /home/vllm", NFS, ["/home/vllm/.cache/vllm on nfs"]),
        ("cache", "/caches", "XDG_CACHE_HOME: /caches", NFS, ["/caches/vllm on nfs"]),
        ("cache", "/c", "TRITON_CACHE_DIR: /c/triton", NFS, ["/c/triton on nfs"]),
        ("/mnt/nfs/hub", "/root/.cache", "A: b", "", ["/root/.cache/vllm on /mnt/nfs/hub/vllm"]),
        ("/mnt/nfs/hub", "/root/.cache/huggingface", "A: b", NFS, []),
        ("cache", "/root/.cache/huggingface", "A: b", NFS, []),
        ("cache", "/root/.cache", "VLLM_CACHE_ROOT: /var/cache", NFS, []),
        ("cache", "/root/.cache", "A: b", "", []),
        ("cache", "/root/.cache", "A: b", "driver: local", []),
    ],
)
def test_volumes_of_compose(volume: str, place: str, environment: str, defined: str, found: list[str]) -> None:
    text = COMPOSE.replace("VOLUME", volume).replace("PLACE", place)
    text = text.replace("ENVIRONMENT", environment).replace("DEFINED", defined)
    assert [shown for _line, shown in said(text, "compose")] == found


def test_what_is_mounted_nearest_counts() -> None:
    text = COMPOSE.replace("VOLUME:PLACE", 'cache:/root/.cache", "own:/root/.cache/vllm').replace("DEFINED", NFS)
    assert said(text.replace("ENVIRONMENT", "A: b"), "compose") == []


POD = """\
apiVersion: v1
kind: Pod
metadata: {name: vllm}
spec:
  volumes:
    - {name: cache, VOLUME}
  containers:
    - name: vllm
      image: vllm/vllm-openai:v0.32.0
      volumeMounts: [{name: cache, mountPath: /root/.cache}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: shared}
spec: {accessModes: [MODE]}
"""


@pytest.mark.parametrize(
    ("volume", "mode", "found"),
    [
        ("nfs: {server: 10.0.0.9, path: /x}", "ReadWriteOnce", [(6, "/root/.cache/vllm on nfs")]),
        ("csi: {driver: efs.csi.aws.com}", "ReadWriteOnce", [(6, "/root/.cache/vllm on efs.csi.aws.com")]),
        ("persistentVolumeClaim: {claimName: shared}", "ReadWriteMany", [(15, "/root/.cache/vllm on ReadWriteMany")]),
        ("hostPath: {path: /mnt/nfs/cache}", "ReadWriteMany", [(6, "/root/.cache/vllm on /mnt/nfs/cache/vllm")]),
        ("persistentVolumeClaim: {claimName: shared}", "ReadWriteOnce", []),
        ("persistentVolumeClaim: {claimName: other}", "ReadWriteMany", []),
        ("emptyDir: {}", "ReadWriteMany", []),
    ],
)
def test_volumes_of_pods(volume: str, mode: str, found: list[tuple[int, str]]) -> None:
    assert said(POD.replace("VOLUME", volume).replace("MODE", mode), "kubernetes") == found


def test_volumes_of_docker_run() -> None:
    share = "type=volume,src=c,dst=/root/.cache,volume-opt=type=nfs4,volume-opt=device=:/c"
    start = "docker run --mount {} vllm/vllm-openai:v0.32.0 --model /m"
    assert said(start.format(share), "script") == [(1, "/root/.cache/vllm on nfs4")]
    assert said(start.format("type=volume,src=c,dst=/root/.cache"), "script") == []


def test_volumes_of_a_quadlet(tmp_path: Path) -> None:
    quadlet = "[Container]\nImage=vllm/vllm-openai:v0.32.0\nVolume=cache.volume:/root/.cache\n"
    (tmp_path / "vllm.container").write_text(quadlet)
    found = {}
    for kind in ("nfs", "ext4"):
        (tmp_path / "cache.volume").write_text(f"[Volume]\nType={kind}\nDevice=/dev/sdb\n")
        found[kind] = [finding.found for finding in lint_paths([str(tmp_path)]).findings if finding.rule == RULE]
    assert found == {"nfs": ["/root/.cache/vllm on nfs"], "ext4": []}
