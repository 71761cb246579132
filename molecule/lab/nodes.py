"""The nodes: podman containers that boot systemd, with fixed addresses and interface names, reached over SSH."""

from __future__ import annotations

import io
import socket
import subprocess
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab import connections, kernel
from lab.commands import last_lines
from lab.credentials import Credentials
from lab.errors import LabError
from lab.host import LABEL, LABEL_CHECKOUT, LABEL_DIGEST, Host
from lab.paths import CHECKOUT, IMAGES_IN_NODE, MODELS_IN_NODE, STATE, VLLM_IN_NODE
from lab.progress import Progress
from lab.spec import IMAGES, LabSpec, NodeSpec, digest, interface_name

BOOT_SECONDS = 240
SHM_SIZE = "2g"


def full_name(lab: str, node: str) -> str:
    """Return podman's name of a lab's node."""
    return f"hvl-{lab}-{node}"


@dataclass(frozen=True)
class Nodes:
    """The nodes of one lab."""

    host: Host
    spec: LabSpec
    credentials: Credentials

    def existing(self) -> dict[str, dict[str, Any]]:
        """Return podman's listing of this lab's containers by name."""
        return existing(self.host, self.spec.name)

    def ensure(self, images: Mapping[IMAGES, str], progress: Progress) -> list[str]:
        """Bring every node of the spec up and remove those it does not name; return the names made or started."""
        present = self.existing()
        wanted = {full_name(self.spec.name, node.name) for node in self.spec.nodes}
        for name in sorted(set(present) - wanted):
            self.host.podman("rm", "--force", "--time=5", name)
            progress.say(f"node {name}: removed, the lab's file does not name it")
        made, started = [], []
        with kernel.values_kept():
            for node in self.spec.nodes:
                held = present.get(full_name(self.spec.name, node.name))
                if self._revive(node, images[node.image], held):
                    if not held or held["State"] != "running":
                        started.append(node.name)
                    continue
                self._make(node, images[node.image])
                made.append(node.name)
            self._wait_for_init([*made, *started])
        for node in self.spec.nodes:
            # A node that was only stopped may take minutes to start an engine; nobody waits for that here.
            self.wait(node, booted=node.name in made)
        return [*made, *started]

    def _revive(self, node: NodeSpec, image: str, held: dict[str, Any] | None) -> bool:
        """Have an existing node run; False when there is none or it has to be made anew."""
        if held is None or held["Labels"].get(LABEL_DIGEST) != self._digest(self._arguments(node, image)):
            return False
        if held["State"] == "running":
            return True
        # Any other state but "exited" is what a killed run leaves half done.
        return held["State"] == "exited" and self.host.podman_succeeds("start", held["Names"][0])

    def _make(self, node: NodeSpec, image: str) -> None:
        name = full_name(self.spec.name, node.name)
        connections.close(self.spec.name, str(self.spec.reached_by(node)))
        self.host.podman("rm", "--force", "--ignore", "--time=5", name)
        arguments = self._arguments(node, image)
        self._create(node, arguments, self._digest(arguments))
        self.host.podman("start", name)

    def restart(self, name: str) -> None:
        """Reboot a node: everything it had only in memory is gone; returns when it takes logins again."""
        node = self.spec.node(name)
        connections.close(self.spec.name, str(self.spec.reached_by(node)))
        self.host.podman("stop", "--time=30", full_name(self.spec.name, name))
        with kernel.values_kept():
            self.host.podman("start", full_name(self.spec.name, name))
            self._wait_for_init([name])
        self.wait(node, booted=False)

    def _wait_for_init(self, names: list[str]) -> None:
        """Wait until systemd answers in these nodes: from then on it changes no value of the machine's kernel."""
        deadline = time.monotonic() + BOOT_SECONDS
        for name in names:
            while not self.host.podman_succeeds(
                "exec", full_name(self.spec.name, name), "systemctl", "show-environment"
            ):
                if time.monotonic() > deadline:
                    raise LabError(
                        f"systemd of node {name} did not start within {BOOT_SECONDS} s",
                        f"'lab down {self.spec.name}', then repeat 'lab up'",
                        self.host.podman("logs", "--tail=15", full_name(self.spec.name, name)),
                    )
                time.sleep(0.1)

    def wait(self, node: NodeSpec, *, booted: bool) -> None:
        """Wait until a node takes a login over SSH and, with ``booted``, until systemd has started everything."""
        deadline = time.monotonic() + BOOT_SECONDS
        address = str(self.spec.reached_by(node))
        while not _greets(address):
            if time.monotonic() > deadline:
                raise LabError(
                    f"node {node.name} did not answer on {address} port 22 within {BOOT_SECONDS} s",
                    f"see 'lab exec {self.spec.name} {node.name} -- journalctl -b', then repeat 'lab up'",
                    self._journal(node),
                )
            time.sleep(0.2)
        argv = ["ssh", *self.credentials.ssh_options(), "-o", "ConnectTimeout=20", f"root@{address}", "true"]
        login = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if login.returncode != 0:
            raise LabError(
                f"node {node.name} answers on {address} but refuses the lab's key",
                f"'lab down {self.spec.name}' and 'lab up' make it anew",
                last_lines(login.stderr),
            )
        if booted:
            self._wait_for_systemd(node, deadline)

    def _wait_for_systemd(self, node: NodeSpec, deadline: float) -> None:
        name = full_name(self.spec.name, node.name)
        state = "unknown"
        while time.monotonic() < deadline:
            # The state is the answer here, and systemctl exits with 1 for every one but "running".
            argv = [*self.host.prefix, "podman", "exec", name, "systemctl", "is-system-running"]
            state = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
            if state in ("running", "degraded"):
                return
            time.sleep(0.3)
        raise LabError(
            f"systemd of node {node.name} is still '{state}' after {BOOT_SECONDS} s",
            f"see 'lab exec {self.spec.name} {node.name} -- systemctl list-jobs'",
            self._journal(node),
        )

    def _journal(self, node: NodeSpec) -> str:
        argv = [*self.host.prefix, "podman", "exec", full_name(self.spec.name, node.name)]
        argv += ["journalctl", "--boot", "--no-pager", "--lines=15"]
        shown = subprocess.run(argv, capture_output=True, text=True, check=False)
        return last_lines(shown.stdout + shown.stderr)

    def _arguments(self, node: NodeSpec, image: str) -> list[str]:
        arguments = [
            f"--hostname={node.name}", "--systemd=always", "--privileged", "--pids-limit=-1", "--no-hosts",
            "--dns=none", "--log-driver=k8s-file", "--stop-timeout=30", *self.host.ulimits(),
        ]  # fmt: skip
        for network in node.networks:
            options = [f"interface_name={interface_name(network)}"]
            for address in self.spec.addresses(node, network):
                options.append(f"{'ip' if address.version == 4 else 'ip6'}={address}")
            arguments.append(f"--network=hvl-{self.spec.name}-{network}:{','.join(options)}")
        if node.engine:
            arguments.append(f"--shm-size={SHM_SIZE}")
            arguments.append(f"--volume={STATE / 'vllm' / 'env'}:{VLLM_IN_NODE}:ro")
            arguments.append(f"--volume={STATE / 'models'}:{MODELS_IN_NODE}:ro")
        if node.registry:
            arguments.append(f"--volume={STATE / 'vllm' / 'image'}:{IMAGES_IN_NODE}:ro")
        if node.image == "quadlet":
            # Its own podman cannot put an overlay upon this one's.
            arguments.append("--volume=/var/lib/containers")
        return [*arguments, image]

    def _digest(self, arguments: list[str]) -> str:
        return digest(*arguments, self.credentials.ssh_key.read_text())

    def _create(self, node: NodeSpec, arguments: list[str], mark: str) -> None:
        labels = {LABEL: self.spec.name, LABEL_DIGEST: mark, LABEL_CHECKOUT: str(CHECKOUT)}
        flags = [f"--label={key}={value}" for key, value in labels.items()]
        name = full_name(self.spec.name, node.name)
        self.host.podman("create", f"--name={name}", *flags, *arguments)
        self.host.podman("cp", "-", f"{name}:/", stdin=self._files(node))

    def _files(self, node: NodeSpec) -> bytes:
        """Return a tar archive of the files a node gets before its first boot."""
        address = str(self.spec.reached_by(node))
        # The own name is never a loopback address: a service that looks itself up must find the one others see.
        hosts = f"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n{address} {node.name}\n"
        host_key = self.credentials.host_key(node.name)
        authorised = self.credentials.ssh_key.with_name("id_ed25519.pub").read_bytes()
        content = {
            "etc/hosts": (0o644, hosts.encode()),
            "etc/ssh/ssh_host_ed25519_key": (0o600, host_key.read_bytes()),
            "etc/ssh/ssh_host_ed25519_key.pub": (0o644, host_key.with_name(f"{node.name}.pub").read_bytes()),
            "root/.ssh/authorized_keys": (0o600, authorised),
        }
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for path, (mode, data) in content.items():
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode, entry.mtime = len(data), mode, int(time.time())
                tar.addfile(entry, io.BytesIO(data))
        return archive.getvalue()


def existing(host: Host, lab: str | None = None, *, size: bool = False) -> dict[str, dict[str, Any]]:
    """Return podman's listing of the containers of one lab, or of all labs, by name; ``size`` adds ``Size``."""
    selection = f"--filter=label={LABEL}" + (f"={lab}" if lab else "")
    # A container started by hand from a lab's image has the image's label, and is no lab's.
    selections = [selection, f"--filter=label={LABEL_CHECKOUT}"]
    found = host.podman_json("ps", "--all", "--format=json", *(["--size"] if size else []), *selections)
    return {entry["Names"][0]: entry for entry in found}


def remove(host: Host, lab: str) -> list[str]:
    """Remove every node of a lab; return their names."""
    names = sorted(existing(host, lab))
    if names:
        host.podman("rm", "--force", "--time=2", "--volumes", *names)
    return names


def _greets(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=2) as connection:
            connection.settimeout(5)
            return connection.recv(8).startswith(b"SSH-")
    except OSError:
        return False
