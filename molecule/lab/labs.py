"""Whole labs: up, down, list."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import (
    connections,
    credentials,
    images,
    inventory,
    kernel,
    models,
    namespace,
    networks,
    nodes,
    vllm_env,
    vllm_image,
    vllm_wheels,
)
from lab.commands import run
from lab.errors import LabError
from lab.host import LABEL, LABEL_CHECKOUT, Host
from lab.paths import CHECKOUT, STATE, lab_directory, private_directory, write_file
from lab.progress import Progress
from lab.spec import LabSpec, load


@dataclass(frozen=True)
class LabState:
    """What 'lab list' shows of one lab."""

    name: str
    checkout: str
    nodes: dict[str, str]


def up(file: Path, progress: Progress) -> Path:
    """Bring the lab that ``file`` describes up, reusing what is there and current; return its inventory file.

    A directory ``group_vars`` beside ``file`` becomes part of the inventory.
    """
    spec = load(file)
    host = Host()
    with _locked(spec.name):
        _refuse_foreign(host, spec.name)
        built = {suite: images.ensure(host, suite, progress) for suite in sorted({node.image for node in spec.nodes})}
        if spec.needs_vllm:
            vllm_env.ensure(progress)
            models.DIRECTORY.mkdir(parents=True, exist_ok=True)
        if spec.needs_images:
            vllm_image.ensure(host, progress)
        if spec.needs_wheels:
            vllm_wheels.ensure(progress)
        for model in spec.models:
            models.ensure(model, progress)
        secrets = credentials.ensure(lab_directory(spec.name), spec)
        write_file(_spec_file(spec.name), spec.model_dump_json(indent=2), 0o600)
        if not networks.is_current(host, spec):
            progress.say("the lab's networks have changed or are another checkout's: its nodes are made anew")
            nodes.remove(host, spec.name)
            networks.remove(host, spec.name)
        networks.ensure(host, spec, progress)
        connections.prepare(spec.name)
        kernel.raise_limit()
        with progress.step(f"nodes of lab {spec.name}"):
            touched = nodes.Nodes(host, spec, secrets).ensure(built, progress)
        progress.say(f"started: {', '.join(touched)}" if touched else "all nodes were up already")
        images.remove(host, keep_current=True)
        return inventory.write(spec, secrets, file.parent / "group_vars")


def down(name: str, progress: Progress) -> None:
    """Remove a lab's nodes, networks and files; shared images, models and environments stay."""
    host = Host()
    _refuse_foreign(host, name)
    with progress.step(f"taking lab {name} down"):
        connections.forget(name)
        nodes.remove(host, name)
        networks.remove(host, name)
        if lab_directory(name).exists():
            shutil.rmtree(lab_directory(name))
        release_host(host)


def release_host(host: Host) -> None:
    """Leave the machine as it was before the first lab, when no lab of any checkout is left on it."""
    kernel.put_back()
    if not nodes.existing(host) and not networks.existing(host):
        kernel.lower_limit()
        networks.forget_leases(host)
        namespace.leave()


def listing(host: Host) -> list[LabState]:
    """Return every lab of this machine that has nodes or networks."""
    found: dict[str, LabState] = {}
    for network in networks.existing(host):
        labels = network["labels"]
        found.setdefault(labels[LABEL], LabState(labels[LABEL], labels[LABEL_CHECKOUT], {}))
    for name, node in nodes.existing(host).items():
        lab = node["Labels"][LABEL]
        state = found.setdefault(lab, LabState(lab, node["Labels"][LABEL_CHECKOUT], {}))
        state.nodes[name.removeprefix(f"hvl-{lab}-")] = node["State"]
    return [found[name] for name in sorted(found)]


def own_names(host: Host) -> list[str]:
    """Return the names of this checkout's labs, up or half removed."""
    up_now = {state.name for state in listing(host) if state.checkout == str(CHECKOUT)}
    return sorted(up_now | {file.parent.name for file in STATE.glob("*/spec.json")})


def disk_use(host: Host) -> list[tuple[str, int]]:
    """Return (what, bytes) for everything the labs of this checkout keep."""
    found = []
    for entry in sorted(STATE.iterdir()) if STATE.exists() else []:
        if entry.is_dir():
            used = run(["du", "--summarize", "--block-size=1", str(entry)], remedy="repeat when no build is at work")
            found.append((f".lab/{entry.name}", int(used.split()[0])))
    found += images.sizes(host)
    written = sum(node.get("Size", {}).get("rwSize", 0) for node in nodes.existing(host, size=True).values())
    return [*found, ("written in the nodes", written)]


def saved(name: str) -> LabSpec:
    """Return the description of a lab that was brought up from this checkout."""
    try:
        text = _spec_file(name).read_text()
    except OSError as error:
        raise LabError(f"there is no lab '{name}' of this checkout", "'lab list' names the labs that are up") from error
    return LabSpec.model_validate_json(text)


def restart(name: str, node: str, progress: Progress) -> None:
    """Reboot a node and wait until it takes logins."""
    spec = saved(name)
    with progress.step(f"rebooting {node}"):
        nodes.Nodes(Host(), spec, credentials.Credentials(lab_directory(name))).restart(node)


def _spec_file(name: str) -> Path:
    return lab_directory(name) / "spec.json"


def _refuse_foreign(host: Host, name: str) -> None:
    for state in listing(host):
        # A lab whose checkout was deleted, or that does not run any more, is in nobody's use: whoever names it has it.
        in_use = Path(state.checkout).exists() and "running" in state.nodes.values()
        if state.name == name and state.checkout != str(CHECKOUT) and in_use:
            raise LabError(
                f"a lab '{name}' of another checkout is up on this machine: {state.checkout}",
                f"take it down there ('make demo-down' or 'lab down {name}'), or choose another name and subnets",
            )


@contextmanager
def _locked(name: str) -> Iterator[None]:
    private_directory(STATE)
    with (STATE / f".{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LabError(f"another 'lab up' of '{name}' is at work", "wait for it to end, then repeat") from error
        yield
