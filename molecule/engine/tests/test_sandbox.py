# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks from within: Python code that runs with the very settings of the unit.

Each attack is shown first to succeed in a plain unit, where its failure in the sandbox then proves something.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from engine_lab import UNIT_FILE, Engine
from lab.testing import Console

SYSCALL = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    if libc.syscall(number, *arguments) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

def refused(number, *arguments):
    # Fails only where the call is not permitted: the kernel of the test may lack what it asks for.
    try:
        call(number, *arguments)
    except PermissionError as error:
        sys.exit(repr(error))
    except OSError:
        pass
"""
READ_ONLY = "Read-only file system|PermissionError"
NOT_PERMITTED = r"PermissionError\(1"

# name: (the attack, what stops it in the sandbox). Numbers of system calls are those of x86-64.
ATTACKS = {
    "read the keys of sshd": ("print(open('/etc/ssh/ssh_host_ed25519_key').read())", "PermissionError|FileNotFound"),
    "read password hashes": ("print(open('/etc/shadow').read())", "PermissionError"),
    "read the gateway's keys": ("print(open('/etc/hardened-vllm/gateway/keys').read())", "PermissionError|NotFound"),
    "read the state of the collection": ("print(open('/var/lib/hardened-vllm/state').read())", "PermissionError"),
    "read others' homes": ("print(open('/home/other/note').read())", "PermissionError|FileNotFound"),
    "read others' temporary files": ("print(open('/tmp/attack-note').read())", "FileNotFoundError"),
    "read others' shared memory": ("print(open('/dev/shm/attack-note').read())", "FileNotFoundError"),
    "read the logs": ("import os; print(len(os.listdir('/var/log')))", "PermissionError"),
    "write to the system": ("open('/usr/local/bin/attack', 'w')", READ_ONLY),
    "write its own configuration": ("open('/etc/hardened-vllm/engine/engine.env', 'a')", READ_ONLY),
    "write where anybody may": ("open('/srv/public/attack', 'w')", READ_ONLY),
    "leave a set-user-id program": (
        """
import os
path = os.environ.get("CACHE_DIRECTORY", "/var/tmp") + "/suid"
open(path, "w")
os.chmod(path, 0o4755)
""",
        "PermissionError",
    ),
    "leave code for the next start": (
        """
import os, subprocess, sys
folder = os.path.expanduser("~/.local/lib/python3.11/site-packages")
os.makedirs(folder, exist_ok=True)
open(folder + "/attack_module.py", "w")
subprocess.run([sys.executable, "-c", "import attack_module"], check=True)
""",
        "No module named 'attack_module'",
    ),
    "see other processes": ("print(open('/proc/1/cmdline').read())", "FileNotFoundError"),
    "load a kernel module": (SYSCALL + "refused(175, b'', 0, b'')", NOT_PERMITTED),
    "become another user": ("import os; os.setuid(33)", "PermissionError"),
    "mount": (SYSCALL + "call(165, b'none', b'/mnt', b'tmpfs', 0, 0)", "PermissionError"),
    "make a user namespace": (SYSCALL + "call(272, 0x10000000)", "PermissionError"),
    "load a kernel program": (SYSCALL + "refused(321, 5, 0, 0)", NOT_PERMITTED),
    "use the kernel's keys": (SYSCALL + "call(248, b'user', b'attack', b'x', 1, -3)", "PermissionError"),
    "listen to raw packets": (
        "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
        "Address family not supported|PermissionError",
    ),
    "take the processor for itself": (
        "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
        "PermissionError",
    ),
    "change the kernel's settings": ("open('/proc/sys/net/ipv4/ip_forward', 'w').write('1')", READ_ONLY),
    "open a device": ("open('/dev/fuse', 'r+b', buffering=0)", "FileNotFoundError|PermissionError"),
    "ask the system's bus": (
        "import socket; socket.socket(socket.AF_UNIX).connect('/run/dbus/system_bus_socket')",
        "PermissionError|FileNotFoundError",
    ),
    "dump its memory to disk": (
        "import resource; resource.setrlimit(resource.RLIMIT_CORE, (1, 1))",
        "ValueError|PermissionError",
    ),
}

BAIT = """
mkdir -p /etc/hardened-vllm/gateway /home/other /srv/public
echo secret > /etc/hardened-vllm/gateway/keys
echo secret > /var/lib/hardened-vllm/state
echo secret > /home/other/note
echo secret > /tmp/attack-note
echo secret > /dev/shm/attack-note
chmod 1777 /srv/public
chmod 0600 /etc/hardened-vllm/gateway/keys
chmod 0644 /home/other/note /tmp/attack-note /dev/shm/attack-note
test -e /etc/ssh/ssh_host_ed25519_key
"""
CLEAN = """
rm -rf /etc/hardened-vllm/gateway /var/lib/hardened-vllm/state /home/other /srv/public
rm -f /tmp/attack-note /dev/shm/attack-note
rm -f /run/attack.py /run/attack.out /run/systemd/system/attack-*.service
rm -f /usr/local/bin/attack /var/tmp/suid /var/cache/vllm/suid
rm -rf /root/.local/lib/python3.11/site-packages/attack_module.py /var/lib/vllm/.local
umount /mnt || true
systemctl daemon-reload; systemctl reset-failed
"""


SAY = "StandardOutput=truncate:/run/attack.out\nStandardError=inherit"


def sandboxed(unit: str) -> str:
    """Return the engine's unit with another program in it, run once."""
    unit = re.sub(r"^StartLimitIntervalSec=.*$", "StartLimitIntervalSec=0", unit, flags=re.MULTILINE)
    text = re.sub(r"^ExecStart=.*$", "ExecStart=/usr/bin/python3 /run/attack.py", unit, flags=re.MULTILINE)
    text = re.sub(
        r"^(Restart|RuntimeDirectory|RuntimeDirectoryMode|StartLimitBurst)=.*\n", "", text, flags=re.MULTILINE
    )
    return re.sub(r"^Type=.*$", f"Type=oneshot\n{SAY}", text, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def attacker(console: Callable[[str], Console]) -> Iterator[Callable[[str, str], tuple[int, str]]]:
    """A function that runs code in the unit plain or boxed and returns exit code and output."""
    where = console("engine1")
    where.shell(BAIT)
    plain = f"[Service]\nType=oneshot\n{SAY}\nEnvironment=HOME=/root\nExecStart=/usr/bin/python3 /run/attack.py\n"
    plain = f"[Unit]\nStartLimitIntervalSec=0\n{plain}"
    for name, text in (("plain", plain), ("boxed", sandboxed(where.run("cat", UNIT_FILE)))):
        where.run("sh", "-c", f"cat > /run/systemd/system/attack-{name}.service", given=text)
    where.shell("systemctl daemon-reload")

    def attack(name: str, code: str) -> tuple[int, str]:
        where.run("sh", "-c", "cat > /run/attack.py", given=code)
        started = where.start("systemctl", "start", f"attack-{name}.service")
        return started.returncode, where.run("cat", "/run/attack.out")

    yield attack
    where.shell(CLEAN)


def test_the_sandbox_itself_lets_a_program_run(attacker: Callable[[str, str], tuple[int, str]]) -> None:
    code, said = attacker("boxed", "import os; print(os.listdir(os.environ['HOME']), open('/tmp/own', 'w').name)")
    assert code == 0, said


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_succeeds_without_the_sandbox_and_fails_within(
    attacker: Callable[[str, str], tuple[int, str]], name: str
) -> None:
    attack, stopped_by = ATTACKS[name]
    code, said = attacker("plain", attack)
    assert code == 0, f"it fails already without the sandbox, so its failure within would prove nothing: {said}"
    code, said = attacker("boxed", attack)
    assert code != 0, f"the sandbox let it: {said}"
    assert re.search(stopped_by, said), said


def test_the_engine_took_no_harm(engine: Engine) -> None:
    assert engine.tokens() == 3
