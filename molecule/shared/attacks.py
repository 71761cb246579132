# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks from within an engine, for a unit's sandbox and a container's: Python code, and what stops it there.

Each scenario shows first that an attack succeeds without the protection, where its failure within then proves something.
"""

from __future__ import annotations

import textwrap

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

# name: (the attack, what stops it). Numbers of system calls are those of x86-64.
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
    "leave its memory in a core file": (
        """
import glob, os, resource, signal
os.chdir(os.environ.get("CACHE_DIRECTORY", "/var/tmp"))
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
if os.fork() == 0:
    os.abort()
status = os.wait()[1]
assert os.WTERMSIG(status) == signal.SIGABRT, status
if not os.WCOREDUMP(status) or not glob.glob("core*"):
    raise SystemExit("no core file")
""",
        "no core file",
    ),
}


def _calls(code: str) -> str:
    """Return an attack with a way to open connections and to send datagrams that are answered."""
    head = """
        import socket
        def connect(address, port):
            socket.create_connection((address, port), 2).close()
        def datagram(address, port):
            with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as one:
                one.settimeout(2)
                one.sendto(b"attack", (address, port))
                one.recv(10)
    """
    return textwrap.dedent(head) + code


def network(metadata: str, metadata6: str, outside: str, peer: str, port: int) -> dict[str, tuple[str, str]]:
    """Return the attacks by network: addresses of the lab with something that answers on ``port``, TCP and UDP."""
    stopped = "PermissionError|TimeoutError|ConnectionRefusedError"
    return {
        "ask the cloud who this machine is": (_calls(f"connect({metadata!r}, {port})"), stopped),
        "ask it by IPv6": (_calls(f"connect({metadata6!r}, {port})"), stopped),
        "fetch code from a registry": (_calls(f"connect({outside!r}, {port})"), stopped),
        "tell the outside by datagrams": (_calls(f"datagram({outside!r}, {port})"), stopped),
        "call a host inside that is no peer": (_calls(f"connect({peer!r}, {port})"), stopped),
    }
