# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks from within the image: code in a plain container of podman's, then with the very settings of the engine's Quadlet."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab.hunt import hunt, needles
from lab.testing import Console
from shared import attacks

from .conftest import UNIT

QUADLET = "/etc/containers/systemd/hardened-vllm-engine.container"
BOXED = "/etc/containers/systemd/attack-boxed.container"
PYTHON = "/opt/vllm-lab/bin/python"
COUNTED = "NET-06 the engine may not call there"

# name: (the attack, what stops it). Numbers of system calls are those of x86-64.
ATTACKS = {
    "write to the image": ("open('/usr/local/bin/attack', 'w')", "Read-only file system|PermissionError"),
    "change the code of vLLM": ("open('/opt/vllm-lab/attack.py', 'w')", "Read-only file system|PermissionError"),
    "write to its configuration": (
        "open('/etc/hardened-vllm/engine/attack', 'w')",
        "Read-only file system|PermissionError",
    ),
    "write to the model": ("open('/opt/models/tiny/attack', 'w')", "Read-only file system|PermissionError"),
    "become another user": ("import os; os.setuid(33)", "PermissionError"),
    "give a file away": ("import os; open('/tmp/x', 'w'); os.chown('/tmp/x', 33, 33)", "PermissionError"),
    "make namespaces and mount in them": (
        """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for call in (lambda: libc.syscall(272, 0x10020000), lambda: libc.mount(b"none", b"/mnt", b"tmpfs", 0, 0)):
    if call() == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
""",
        "PermissionError",
    ),
    "ask the cloud who this machine is": (
        "import socket; socket.create_connection(('169.254.169.254', 5000), 3).close()",
        "ConnectionRefusedError|PermissionError|TimeoutError",
    ),
    "fetch from the registry at run time": (
        "import socket; socket.create_connection(('10.233.62.50', 5000), 3).close()",
        "ConnectionRefusedError|PermissionError|TimeoutError",
    ),
}
# Of the attacks on a unit, those that need nothing of the host's files ...
FROM_WITHIN = (
    "load a kernel module", "mount", "make a user namespace", "load a kernel program", "use the kernel's keys",
    "listen to raw packets", "take the processor for itself", "change the kernel's settings", "open a device",
    "become another user", "dump its memory to disk", "leave its memory in a core file",
)  # fmt: skip
# ... and those that do, by way of the process that is the first on the host.
BY_FILES = (
    "read the keys of sshd", "read password hashes", "read the state of the collection", "read others' homes",
    "read others' temporary files", "ask the system's bus",
)  # fmt: skip
PRIVILEGED = {
    **{name: attacks.ATTACKS[name] for name in FROM_WITHIN},
    **{
        name: (
            re.sub(r"'/(etc|var|home|tmp|run)/", r"'/proc/1/root/\1/", attacks.ATTACKS[name][0]),
            "PermissionError|FileNotFound",
        )
        for name in BY_FILES
    },
    "see the host's processes": (
        """
import glob
told = b"".join(open(path, "rb").read() for path in glob.glob("/proc/[0-9]*/cmdline"))
assert b"sshd" in told, told
""",
        "AssertionError",
    ),
}
BAIT = """
mkdir -p /run/attack /run/bait/engine /run/bait/tiny /home/other
for file in /home/other/note /tmp/attack-note /var/lib/hardened-vllm/state; do echo secret > $file; done
chmod 0644 /home/other/note /tmp/attack-note
"""
CLEAN = f"""
rm -rf {BOXED} /run/attack /run/attack.out /run/bait /home/other /tmp/attack-note /var/lib/hardened-vllm/state
systemctl daemon-reload; systemctl reset-failed
"""
Attack = Callable[[str, str], tuple[int, str]]


def boxed(quadlet: str) -> str:
    """Return the engine's Quadlet with another program in it, run once."""
    text = re.sub(r"^Exec=.*$", "Exec=/run/attack/attack.py", quadlet, flags=re.MULTILINE)
    text = re.sub(
        r"^ContainerName=.*$", "ContainerName=attack-boxed\nVolume=/run/attack:/run/attack:ro", text, flags=re.MULTILINE
    )
    text = re.sub(r"^StartLimitIntervalSec=.*$", "StartLimitIntervalSec=0", text, flags=re.MULTILINE)
    text = re.sub(r"^(Restart|StartLimitBurst|WantedBy)=.*\n", "", text, flags=re.MULTILINE)
    return text.replace(
        "[Service]\n", "[Service]\nType=oneshot\nStandardOutput=append:/run/attack.out\nStandardError=inherit\n"
    )


@pytest.fixture(scope="module")
def attack(engine: Console) -> Iterator[Attack]:
    """A function that runs code in a container, plain, privileged or boxed, and returns exit code and output."""
    quadlet = engine.run("cat", QUADLET)
    image = re.search(r"^Image=(.*)$", quadlet, re.MULTILINE)
    assert image
    engine.run("sh", "-c", f"cat > {BOXED}", given=boxed(quadlet))
    engine.shell(f"{BAIT} systemctl daemon-reload")
    plain = ["podman", "run", "--rm", "--network=host", "--volume=/run/attack:/run/attack:ro", f"--entrypoint={PYTHON}"]
    plain += ["--volume=/run/bait/engine:/etc/hardened-vllm/engine", "--volume=/run/bait/tiny:/opt/models/tiny"]
    ways = {"plain": plain, "privileged": [*plain, "--privileged", "--pid=host"]}

    def run(name: str, code: str) -> tuple[int, str]:
        engine.run("sh", "-c", "cat > /run/attack/attack.py", given=code)
        if name in ways:
            done = engine.start(*ways[name], image[1], "/run/attack/attack.py")
            return done.returncode, done.stdout + done.stderr
        # Not truncated by the unit, because what cleans up after it would do so again.
        engine.run("rm", "-f", "/run/attack.out")
        done = engine.start("systemctl", "start", "attack-boxed.service")
        return done.returncode, engine.run("cat", "/run/attack.out")

    yield run
    engine.shell(CLEAN)


def test_the_box_itself_lets_a_program_run(attack: Attack) -> None:
    code, said = attack(
        "boxed",
        "import os; print(os.listdir(os.environ['HOME']), open('/tmp/own', 'w').name, open('/run/vllm/own', 'w').name)",
    )
    assert code == 0, said


@pytest.mark.parametrize(
    ("way", "name"), [*(("plain", name) for name in ATTACKS), *(("privileged", name) for name in PRIVILEGED)]
)
def test_an_attack_succeeds_in_a_container_of_podmans_and_fails_in_the_engines(
    attack: Attack, way: str, name: str
) -> None:
    """What podman itself forbids a plain container is shown in a privileged one, as people start them for accelerators."""
    code_of, stopped_by = (ATTACKS if way == "plain" else PRIVILEGED)[name]
    code, said = attack(way, code_of)
    assert code == 0, f"it fails already without the settings, so its failure with them would prove nothing: {said}"
    code, said = attack("boxed", code_of)
    assert code != 0, f"the settings let it: {said}"
    assert re.search(stopped_by, said), said


def test_the_firewall_counts_what_the_engines_account_tried(engine: Console, attack: Attack) -> None:
    """Its rules are by user, and the container's user is the host's."""

    def counted() -> int:
        rules = engine.run("nft", "list", "chain", "inet", "hardened_vllm", "engine_egress")
        return sum(int(number) for number in re.findall(rf'packets (\d+) [^\n]*"{COUNTED}"', rules))

    before = counted()
    attack("boxed", ATTACKS["ask the cloud who this machine is"][0])
    assert counted() > before


def test_the_process_itself_has_nothing(engine: Console) -> None:
    script = f"pid=$(systemctl show -P MainPID {UNIT}); pid=$(pgrep -P $pid); id -u vllm; cat /proc/$pid/status /proc/$pid/limits"
    uid, status = engine.shell(script).split("\n", 1)
    for line in (
        f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}",
        "CapEff:\t" + "0" * 16,
        "CapBnd:\t" + "0" * 16,
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ):
        assert line in status
    assert re.search(r"Max core file size +0 +0 ", status)


def test_what_belongs_to_it_is_its_own(engine: Console) -> None:
    assert engine.shell("stat -c '%U %a' /var/lib/vllm /var/cache/vllm").split("\n")[:2] == ["vllm 700", "vllm 700"]


def test_no_secret_is_anywhere_but_in_its_file(engine: Console, lab_inventory: Path) -> None:
    """The login of the registry is gone once the image is there. Layers of images hold nothing of this run."""
    lab = lab_inventory.parents[1]
    account = json.loads((lab / "auth.json").read_text())["auths"].popitem()[1]["auth"]
    wanted = needles([path for path in (lab / "secrets").rglob("*") if path.is_file()], lab)
    wanted |= {"login": [account, base64.b64decode(account).decode()]}
    assert {"secrets/upstream.key", "secrets/tenants/acme/k1.key"} <= set(wanted)
    found = hunt(engine, wanted, but=["/var/lib/containers/storage/overlay"])
    assert found == {"/etc/hardened-vllm/engine/secrets.yaml": ["secrets/upstream.key"]}
