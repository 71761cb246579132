# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The words a declaration is made of: names, paths, ports, addresses."""

from __future__ import annotations

from .kinds import Day, Integer, Text

NAME = Text("a name of lower-case letters, digits and dashes that starts with a letter", r"[a-z][a-z0-9-]{0,31}")
HOST = Text("a name of at most 63 letters, digits, dots, dashes and underscores", r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
PATH = Text("an absolute path without spaces or dot segments", r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._+@-]+)+")
CONTROLLER_PATH = Text("the path of a file or directory on the controller")
# Somebody may give the key itself.
KEY_PATH = Text("the path of a file on the controller", secret=True)
PORT = Integer(1, 65535)
PORTS = Text("a range of ports such as 40000-44999", r"[0-9]{1,5}-[0-9]{1,5}")
NETWORKS = ("fabric", "management", "edge")
ADDRESS_BLOCK = Text("an address block in CIDR notation", r"[0-9A-Fa-f:.]+/[0-9]{1,3}")
ADDRESS = Text("an IP address", r"[0-9A-Za-z:.*%-]+")
IP_ADDRESS = Text("an IP address, no name", r"[0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*")
PURPOSE = Text("a few words", r"[A-Za-z0-9 ,.'()/-]{3,120}")
HOST_NAME = Text(
    "an exact lower-case host name: no scheme, port, path, wildcard or address",
    r"(?=.{1,253}$)(?!.*\.[0-9]+$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
)
FLAG = Text("a long option of vllm serve without its leading dashes", r"[A-Za-z][A-Za-z0-9_.+-]*")
VARIABLE = Text("the name of an environment variable", r"[A-Za-z_][A-Za-z0-9_]*")
DIGEST = Text("a SHA-256 digest of 64 lower-case hexadecimal digits", r"[0-9a-f]{64}")
SECRET = Text("a key of at least 32 printable characters without spaces", r"[!-~]{32,512}", secret=True)
DEVICE = Text(
    "a device node such as /dev/kfd, a class of /proc/devices such as char-nvidia*, or a name of CDI such as nvidia.com/gpu=all",
    r"/dev/[A-Za-z0-9][A-Za-z0-9/_.:+-]*|char-[A-Za-z0-9_*?-]+|[a-z0-9.-]+/[A-Za-z0-9_-]+=[A-Za-z0-9_.:-]+",
)
# Without its digest too, which install_rules asks for in words of its own.
IMAGE = Text(
    "an image with its registry such as registry.example.org/vllm/vllm-openai@sha256:<64 hexadecimal digits>",
    r"[a-z0-9][a-z0-9.-]*(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@[a-z0-9]+:[0-9a-f]+)?",
)
RULE = Text("the id of a rule or a control", r"[a-z0-9-]+|[A-Z]+-[0-9]{2}")
DATE = Day("a date such as 2027-01-31", r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
EXPIRY = Day(
    "a date such as 2027-01-31 (UTC), or a time such as 2027-01-31T12:00:00Z",
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?",
)
ORIGIN = Text(
    "an origin such as https://app.example.org: lower case, no path, no wildcard",
    r"(https://[a-z0-9.-]{1,253}|http://(localhost|127\.0\.0\.1))(:[0-9]{1,5})?",
)
HTTPS_URL = Text("an https address without query", r"https://[A-Za-z0-9.\[\]:-]+(/[A-Za-z0-9._~/-]*)?")
MAIL = Text("a mail address", r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+")
SUBJECT = Text(
    "the subject of a certificate as RFC 2253 writes it, such as CN=acme,O=Example",
    r"[A-Za-z]+=[A-Za-z0-9 .,=@_/+:-]{1,160}",
)
