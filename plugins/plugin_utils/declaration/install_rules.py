# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for where vLLM is installed from: one source, one list of pins, an image by its digest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..problems import Problem, Severity
from .kinds import Report

# What a key already settles, so that another key beside it would be ignored.
_SETTLED_BY = {
    "bundle": ("index_url", "index_hosts", "find_links", "lock", "requirements"),
    "lock": ("requirements",),
}
# What only an installation of wheels reads, and what only an image needs.
_OF_WHEELS = ("index_url", "find_links", "lock", "requirements", "bundle")
_OF_IMAGES = ("image", "image_archive", "registry_auth")
_BY_DIGEST = re.compile(r"[^@:]+(:[0-9]+/[^@:]+)?@sha256:[0-9a-f]{64}")


def check_install(install: Mapping[str, Any], devices: Any, report: Report) -> None:
    """Refuse two sources or two lists of pins of which one would be ignored, and an image that is not told by its digest."""
    for problem in _image(install, devices):
        report(problem)
    existing = install["method"] == "existing"
    for key, settled in _SETTLED_BY.items():
        if not install[key] or install["method"] == "image":
            continue
        for other in ("method", *settled) if existing else settled:
            if other == "method" or install[other]:
                report(
                    Problem(
                        f"vllm_cluster.install.{key}",
                        "install-source",
                        f"{key} beside {'method: existing' if other == 'method' else other}",
                        "one source of vLLM and one list of pins",
                        f"Leave out install.{key} or install.{other}.",
                    )
                )


def unlocked(install: Mapping[str, Any]) -> Iterator[Problem]:
    """Say that an index decides what is installed beside vLLM; wheels on the nodes (find_links alone) come from whoever put them there."""
    from_index = install["method"] == "index" and (install["index_url"] or not install["find_links"])
    if from_index and not install["lock"] and not install["bundle"]:
        yield Problem(
            "vllm_cluster.install.lock",
            "install-unlocked",
            "an index without a lock",
            "an exact pin and SHA-256 hashes for every package",
            "Without them every node takes what the index has at that moment, dependencies too, and runs it. Set install.lock to a file that"
            " uv pip compile --generate-hashes writes, or install.bundle to what hardened.vllm.bundle made.",
            Severity.WARNING,
        )


def _image(install: Mapping[str, Any], devices: Any) -> Iterator[Problem]:
    is_image = install["method"] == "image"
    for key in _OF_WHEELS if is_image else _OF_IMAGES:
        if install[key]:
            yield Problem(
                f"vllm_cluster.install.{key}",
                "install-source",
                f"{key} beside method: {install['method']}",
                "one source of vLLM and one list of pins",
                f"Leave out install.{key}{'' if is_image else ', or set install.method to image'}.",
            )
    names = [name for name in devices or [] if isinstance(name, str) and "=" in name]
    if names and not is_image:
        yield Problem(
            "vllm_cluster.engine.devices",
            "device-unfit",
            f"{', '.join(names)}, a name of CDI, with install.method {install['method']}",
            "device nodes or classes of /proc/devices",
            "Only containers get devices by CDI: name the nodes, or install an image.",
        )
    if not is_image or (isinstance(install["image"], str) and _BY_DIGEST.fullmatch(install["image"])):
        return
    yield Problem(
        "vllm_cluster.install.image",
        "image-moves",
        install["image"] or "nothing, with method: image",
        "NAME@sha256: and 64 hexadecimal digits, without a tag",
        "A tag can be moved to another image. Ask for the digest once: skopeo inspect --format '{{.Digest}}' docker://NAME:TAG",
    )
