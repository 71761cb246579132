# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration the role gateway renders: what a second program says of it, and what is in which file."""

from __future__ import annotations

import datetime
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils import catalogue
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan

ROOT = Path(__file__).resolve().parents[3]
specification = importlib.util.spec_from_file_location("gateway", ROOT / "tests/support/gateway.py")
assert specification is not None and specification.loader is not None
support = importlib.util.module_from_spec(specification)
specification.loader.exec_module(support)

DIGESTS = {"tenants/a/k1": "a" * 64, "tenants/b/k1": "b" * 64}
EVERYTHING: dict[str, Any] = {
    "routes": list(catalogue.user_groups("0.32.0")),
    "balancing": "tenant",
    "monitor_port": 9443,
    "cors_origins": ["https://app.example.org"],
    "syslog": True,
    "tls": {"certificate": "/c", "key": "/k", "client_authority": "/a"},
}
SMALL: dict[str, Any] = {"routes": ["chat"], "balancing": "session"}


def part(engine: dict[str, Any] | None = None, **gateway: Any) -> dict[str, Any]:
    """Return a gateway's part of a plan for two engines (on sockets those of its own host), two tenants and a monitor."""
    store = [] if gateway["routes"] == ["chat"] else ["responses-store"]
    proved = {"certificate": "CN=b,O=Example"} if "tls" in gateway else {}
    on_socket = (engine or {}).get("listener") == "unix"
    legs = {"fabric": ["10.20.1.20"], "management": ["10.20.2.20"], "edge": ["192.0.2.20"]}
    engines: dict[str, Any] = {
        f"engine{number}": {"roles": ["engine"], "node": {"addresses": {"fabric": [f"10.20.1.{number}"]}}}
        for number in (1, 2)
    }
    made = plan(
        {
            "name": "chat",
            "release": "0.32.0",
            "topology": "replicas",
            "model": {"path": "/srv/models/example", "name": "example"},
            "networks": {
                "fabric": {"cidrs": ["10.20.1.0/24"]},
                "management": {"cidrs": ["10.20.2.0/24"]},
                "edge": {"cidrs": ["192.0.2.0/24"]},
            },
            "engine": engine or {},
            "gateway": {"server_name": "llm.example.org", "tls": {"certificate": "/c", "key": "/k"}, **gateway},
            "tenants": [
                {"name": "a", "keys": [{"id": "k1", "expires": "2030-01-01"}], "routes": ["chat"], "body_bytes": 100},
                {"name": "b", "keys": [{"id": "k1"}], **proved, "routes": ["chat", *store], "from": ["192.0.2.0/25"]},
            ],
            "admin": {"ssh_from": ["10.20.2.0/24"]},
            "secrets_directory": "/srv/secrets",
        },
        {
            **({} if on_socket else engines),
            "gateway1": {"roles": ["engine", "gateway"] if on_socket else ["gateway"], "node": {"addresses": legs}},
            "monitor1": {"roles": ["monitor"], "node": {"addresses": {"management": ["10.20.2.30"]}}},
        },
        datetime.date(2026, 1, 1),
    )
    return dict(made["hosts"]["gateway1"]["gateway"])


def rendered(directory: Path, gateway: dict[str, Any], **variables: Any) -> dict[str, str]:
    paths = support.render(directory, part(**gateway), gateway_digests=DIGESTS, **variables)
    return {path.name: path.read_text() for path in paths}


def gixy(directory: Path) -> list[str]:
    """Return the rules gixy finds broken."""
    # One look for a file that is never there, for requests without a good key, is what the rule warns of.
    argv = [
        sys.executable,
        "-m",
        "gixy",
        "-f",
        "json",
        "--skips",
        "try_files_is_evil_too",
        str(directory / "nginx.conf"),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return [finding["plugin"] for finding in json.loads(done.stdout)]


ON_SOCKET: dict[str, Any] = {**EVERYTHING, "engine": {"listener": "unix", "engines_per_node": 2}}
WITH_TLS: dict[str, Any] = {**EVERYTHING, "engine": {"tls": {"client": True}}}


@pytest.mark.parametrize(
    "gateway", [EVERYTHING, SMALL, WITH_TLS, ON_SOCKET], ids=["everything", "small", "TLS to the engines", "sockets"]
)
def test_gixy_finds_nothing(tmp_path: Path, gateway: dict[str, Any]) -> None:
    rendered(tmp_path, gateway)
    assert gixy(tmp_path) == []


def test_gixy_would_find_something(tmp_path: Path) -> None:
    rendered(tmp_path, SMALL)
    file = tmp_path / "locations.conf"
    file.write_text(file.read_text() + "location /x { proxy_pass http://engines/$arg_to; add_header X-A $arg_a; }\n")
    assert gixy(tmp_path) != []


def test_every_route_is_there_once_for_each_protocol_and_nothing_else_is(tmp_path: Path) -> None:
    texts = rendered(tmp_path, EVERYTHING)
    lines = re.findall(
        r'^    "(?:~\^)?(\d) ([A-Z]+) (\S+) HTTP/', texts["routes.conf"].split("$gateway_path")[0], re.MULTILINE
    )
    assert len(lines) == len(set(lines)) * 2
    assert {(profile, method, path) for profile, method, path in lines if "resp_" not in path} == {
        (profile, "POST", "/v1/chat/completions") for profile in "01"
    }
    # No tenant has more; what nobody has is in no profile, although the gateway offers it.
    assert {profile for profile, _method, path in lines if "resp_" in path} == {"1"}


def test_what_a_rotation_replaced(tmp_path: Path) -> None:
    old = [{"sha256": "c" * 64, "expires": 5}, {"sha256": "b" * 64, "expires": 6}]
    text = rendered(tmp_path, SMALL, gateway_retired={"tenants/b/k1": old})["keys.conf"]
    owners, ids, expires, *_rest = re.findall(r"map \$gateway_digest \S+ \{(.*?)\}", text, re.DOTALL)
    assert f"{'c' * 64} b;" in owners and f"{'c' * 64} k1.old;" in ids and f"{'c' * 64} 5;" in expires
    for block in (owners, ids):
        assert block.count("b" * 64) == 1, "a key in force stays in force"
    assert "b" * 64 not in expires and f"{'a' * 64} 1893456000;" in expires


def test_drained_engines_stay_in_the_list_and_get_nothing(tmp_path: Path) -> None:
    text = rendered(tmp_path, SMALL, gateway_drained=["engine2"])["upstreams.conf"]
    servers = re.findall(r"server (\S+):8000 .*?(down)?;", text)
    assert servers == [("10.20.1.1", ""), ("10.20.1.2", "down")] * 2


def test_only_what_makes_an_engine_work_is_limited_by_what_it_can_take(tmp_path: Path) -> None:
    texts = rendered(tmp_path, EVERYTHING)
    limited, unlimited = texts["upstreams.conf"].split("upstream engines_unlimited {")
    assert (limited.count(" max_conns=1280;"), unlimited.count("max_conns")) == (2, 0)
    passed = re.findall(r"location = (\S+) {[^}]*proxy_pass http://(engines\w*)/", texts["locations.conf"])
    free = {path for path, where in passed if where == "engines_unlimited"}
    assert free == {"/v1/models", "/~ids/v1/responses/response_id", "/~ids/v1/responses/response_id/cancel"}
    assert {"/v1/chat/completions", "/v1/realtime", "/~100/v1/chat/completions"} <= {
        path for path, _where in passed
    } - free


@pytest.mark.parametrize(
    ("balancing", "directive"),
    [
        ("least_connections", "least_conn;"),
        ("tenant", "hash $gateway_tenant consistent;"),
        ("session", 'hash "$gateway_tenant $gateway_session" consistent;'),
    ],
)
def test_who_takes_a_request(tmp_path: Path, balancing: str, directive: str) -> None:
    assert f"    {directive}\n" in rendered(tmp_path, {**SMALL, "balancing": balancing})["upstreams.conf"]


def test_a_long_prefill_is_waited_for_and_nothing_else_is(tmp_path: Path) -> None:
    """An engine is silent until its prefill is over; a dead one is to be noticed at once."""
    told = dict(re.findall(r"(?m)^proxy_(\w+)_timeout (\S+);", rendered(tmp_path, SMALL)["upstreams.conf"]))
    assert told == {"connect": "5s", "read": "600s", "send": "60s"}


def test_without_monitors_nothing_listens_for_them(tmp_path: Path) -> None:
    assert "listen" not in rendered(tmp_path, SMALL)["monitor.conf"]


def test_a_certificate_is_asked_for_where_an_authority_is_declared_only(tmp_path: Path) -> None:
    texts = rendered(tmp_path, EVERYTHING)
    assert '"b SUCCESS CN=b,O=Example" "";' in texts["keys.conf"]
    assert "ssl_verify_client optional;" in texts["nginx.conf"]
    assert "access_log syslog:server=unix:/dev/log," in texts["log.conf"]
    texts = rendered(tmp_path, SMALL)
    assert "ssl_verify_client" not in texts["nginx.conf"] and "ssl_client" not in texts["keys.conf"]
    assert "syslog" not in texts["log.conf"]


def test_over_tls_no_way_leads_to_an_engine_without_it(tmp_path: Path) -> None:
    texts = rendered(tmp_path, WITH_TLS)
    ways = [way for text in texts.values() for way in re.findall(r"proxy_pass (\S+?)://", text)]
    assert set(ways) == {"https"} and len(ways) > 5
    wanted = {
        "verify on",
        "trusted_certificate",
        "name engines.internal",
        "server_name on",
        "protocols TLSv1.2 TLSv1.3",
        "certificate_key",
    }
    assert all(f"proxy_ssl_{words}" in texts["nginx.conf"] for words in wanted)
    texts = rendered(tmp_path, EVERYTHING)
    assert "proxy_ssl" not in texts["nginx.conf"] and "https://" not in texts["locations.conf"]


def test_engines_on_sockets_are_reached_there_and_nowhere_else(tmp_path: Path) -> None:
    texts = rendered(tmp_path, ON_SOCKET, gateway_drained=["gateway1-1"])
    servers = re.findall(
        r"server (\S+) max_fails=2 fail_timeout=5s(?: max_conns=1280)?(?: (down))?;", texts["upstreams.conf"]
    )
    sockets = [f"/run/hardened-vllm-{name}/api.sock" for name in ("engine", "engine-1")]
    assert servers == [(f"unix:{sockets[0]}", ""), (f"unix:{sockets[1]}", "down")] * 2
    assert re.findall(r"proxy_pass (\S+);", texts["monitor.conf"]) == [
        f"http://unix:{path}:{asked}" for path in sockets for asked in ("/health", "/metrics")
    ]
    assert ":8000" not in "".join(texts.values())
    assert "keepalive 64;" in texts["upstreams.conf"]
    assert "proxy_set_header Host llm.example.org;" in texts["upstreams.conf"]
