# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real vLLM with a vision model gets images of the declared hosts and calls nobody else, however the URL is written.

prepare.yml shows the same vLLM without the collection fetch from other hosts, and follow an allowed host to the metadata.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import runs
from lab.paths import CHECKOUT, lab_directory
from lab.testing import Console

# Default of gateway.limits.body_bytes.
BODY_BYTES = 10 * 1024 * 1024
PUBLIC = {"198.51.100.150", "2001:db8:6b::50"}
# Every packet that opens something and leaves the engine's host, but for those to the proxy.
WATCH = """
table inet watch {
    chain leaves {
        type filter hook postrouting priority 300;
        oifname "lo" accept
        ip daddr 10.227.1.20 tcp dport 3128 accept
        meta skuid "vllm" ct state new counter comment "elsewhere"
    }
}
"""
# The same without a proxy: nothing at all is let by.
WATCH_ALL = "".join(line for line in WATCH.splitlines(keepends=True) if "dport 3128" not in line)
# Each with what vLLM without the collection does with it (prepare.yml), and what the collection makes of it where that is not a
# refusal of everything that is no declared host: another spelling of a declared one leads to it, or is taken for another.
FORMS = json.loads((Path(__file__).parents[1] / "files/forms.json").read_text())
# What it refuses without any list: what is no host to it, or no URL that it fetches.
REFUSED_BY_VLLM = {
    "http://xn--mages-n9a.example.org/picture",
    "http://images.example.org%40169.254.169.254/picture",
    "http://2852039166/picture",
    "http://0251.0376.0251.0376/picture",
    "http://169.254.43518/picture",
    "file:///etc/passwd",
    "file://images.example.org/etc/passwd",
    "ftp://images.example.org/picture",
    "gopher://images.example.org/picture",
    "data:image/png;base64,AAAA",
}
REFUSED = [form["url"] for form in FORMS if "hardened" not in form]
SPELLINGS = {form["url"]: form["hardened"] for form in FORMS if "hardened" in form}
Ask = Callable[[str], int]


def request(url: str) -> str:
    """Return the body of a request to look at the image of a URL."""
    content = [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": url}}]
    return json.dumps({"model": "llava", "max_tokens": 1, "messages": [{"role": "user", "content": content}]})


@pytest.fixture(scope="session")
def ask(console: Callable[[str], Console], lab_name: str) -> Ask:
    """Have the engine look at the image of a URL, as a gateway asks it; return the status."""
    key = (lab_directory(lab_name) / "secrets/upstream.key").read_text().strip()
    argv = ["curl", "-sS", "--max-time", "90", "-o", "/dev/null", "-w", "%{http_code}", "-H", "@/run/key", "-d", "@-"]
    argv += ["-H", "Content-Type: application/json", "http://10.227.1.11:8000/v1/chat/completions"]
    console("gateway").run("sh", "-c", "umask 077; cat > /run/key", given=f"Authorization: Bearer {key}\n")

    return lambda url: int(console("gateway").run(*argv, given=request(url)))


@pytest.fixture(scope="session")
def ask_as_tenant(lab_name: str) -> Ask:
    """Ask through the gateway, from this machine; return the status."""
    lab = lab_directory(lab_name)
    key = (lab / "secrets/tenants/acme/k1.key").read_text().strip()
    argv = ["curl", "-sS", "--max-time", "90", "-o", "/dev/null", "-w", "%{http_code}", "-d", "@-"]
    argv += [
        "-H",
        f"Authorization: Bearer {key}",
        "-H",
        "Content-Type: application/json",
        "--cacert",
        str(lab / "tls/ca.pem"),
    ]
    argv += ["--resolve", "gateway.example.org:443:10.227.2.20", "https://gateway.example.org/v1/chat/completions"]

    def send(url: str) -> int:
        return int(subprocess.run(argv, input=request(url), capture_output=True, text=True, check=True).stdout)

    return send


@pytest.fixture(scope="session")
def inline(console: Callable[[str], Console]) -> Callable[[int], str]:
    """Return a function to the world's picture as a data: URL; what is appended to make it so long no decoder reads."""
    read = "import sys, urllib.request; sys.stdout.write(urllib.request.urlopen('http://198.51.100.150/picture').read().hex())"
    picture = bytes.fromhex(console("world").run("python3", "-c", read))
    return lambda length: f"data:image/png;base64,{base64.b64encode(picture.ljust(length, bytes(1))).decode()}"


@pytest.fixture
def seen(console: Callable[[str], Console]) -> Callable[[], list[dict[str, Any]]]:
    """What has reached the world since the test began."""
    console("world").run("truncate", "--size=0", "/root/record.jsonl")
    return lambda: [json.loads(line) for line in console("world").run("cat", "/root/record.jsonl").splitlines()]


@pytest.fixture(params=[WATCH], ids=[""])
def elsewhere(console: Callable[[str], Console], request: pytest.FixtureRequest) -> Iterator[Callable[[], int]]:
    """Packets that open a connection from the engine's account to others than the proxy, since the test began."""
    engine = console("engine1")
    engine.run("nft", "-f", "-", given=request.param)
    list_table = ("nft", "list", "table", "inet", "watch")
    yield lambda: sum(map(int, re.findall(r"counter packets (\d+)", engine.run(*list_table))))
    engine.run("nft", "delete", "table", "inet", "watch")


Seen = Callable[[], list[dict[str, Any]]]
Elsewhere = Callable[[], int]


def test_an_image_of_a_declared_host_arrives(ask: Ask, seen: Seen, elsewhere: Elsewhere) -> None:
    assert ask("http://images.example.org/picture") == 200
    assert [request["line"] for request in seen()] == ["GET /picture HTTP/1.1"]
    assert elsewhere() == 0


@pytest.mark.parametrize("url", SPELLINGS)
def test_another_spelling_of_a_declared_host_leads_to_it_or_is_refused(
    url: str, ask: Ask, seen: Seen, elsewhere: Elsewhere
) -> None:
    """Upper case is folded; a name with a last dot is another name; after a backslash vLLM reads a path, and the proxy is asked for the same."""
    status, came = ask(url), seen()
    assert ("got" if status == 200 else "called" if came else "refused") == SPELLINGS[url]
    assert status == 200 or 400 <= status < 500
    assert {request["address"] for request in came} <= PUBLIC
    assert elsewhere() == 0


def test_what_the_collection_adds_is_known() -> None:
    """Of the forms that are refused here, those that vLLM with its guide's list refuses of itself, and those it does not."""
    ours = {form["url"] for form in FORMS if form["recommended"] != "refused" and form["url"] in REFUSED}
    assert ours == {"http://images.example.org:8080/picture", "http://images.example.org/redirect"}
    assert {form["url"] for form in FORMS if form["documented"] == "refused"} == REFUSED_BY_VLLM


@pytest.mark.parametrize("url", REFUSED)
def test_everything_else_is_refused_and_nothing_leaves(url: str, ask: Ask, seen: Seen, elsewhere: Elsewhere) -> None:
    assert ask(url) >= 400
    # The redirect of an allowed host is got, and not followed.
    assert [request["line"] for request in seen()] == (["GET /redirect HTTP/1.1"] if url.endswith("/redirect") else [])
    assert elsewhere() == 0


def test_a_name_that_changes_its_answer_ends_at_the_proxy(ask: Ask, seen: Seen, elsewhere: Elsewhere) -> None:
    for name in ("changes", "fails-first"):
        for _ in range(6):
            ask(f"http://{name}.example.org/picture")
    assert {request["address"] for request in seen()} <= PUBLIC
    assert elsewhere() == 0


def test_a_larger_item_than_declared_is_refused(ask: Ask) -> None:
    """vLLM of itself takes this picture, as prepare.yml shows."""
    assert ask("http://images.example.org/large") >= 400


def test_an_image_in_the_request_is_held_to_the_limit_of_a_request(
    ask: Ask, ask_as_tenant: Ask, inline: Callable[[int], str], seen: Seen, elsewhere: Elsewhere
) -> None:
    """An engine takes it, however long; the limit of one item is of what is got by URL."""
    assert ask(inline(BODY_BYTES)) == 200
    assert ask_as_tenant(inline(BODY_BYTES)) == 413
    assert ask_as_tenant(inline(0)) == 200
    assert seen() == []
    assert elsewhere() == 0


def test_without_the_firewall_and_the_proxy_the_counter_counts(
    console: Callable[[str], Console], elsewhere: Elsewhere
) -> None:
    """The engine's account, let out, is seen to leave: what was zero above could have been something."""
    engine = console("engine1")
    call = "import socket; socket.create_connection(('169.254.169.254', 80), 5).close()"
    argv = ["runuser", "-u", "vllm", "--", "python3", "-c", call]
    assert engine.start(*argv).returncode != 0
    assert elsewhere() == 0
    engine.run("nft", "flush", "chain", "inet", "hardened_vllm", "output")
    try:
        assert engine.start(*argv).returncode == 0
        assert elsewhere() == 1
    finally:
        engine.run("nft", "-f", "/etc/hardened-vllm/firewall.nft")


@pytest.fixture(scope="module")
def denied(lab_name: str) -> None:
    """The same cluster declared without any domain."""
    done = runs.play(lab_name, CHECKOUT / "playbooks/site.yml", images_domains=[], site_restart_ok=True)
    assert done.code == 0, done.text


@pytest.mark.usefixtures("denied")
@pytest.mark.parametrize("elsewhere", [WATCH_ALL], indirect=True, ids=["all"])
def test_without_a_declared_host_every_url_is_refused_and_nothing_leaves(
    ask: Ask, ask_as_tenant: Ask, inline: Callable[[int], str], seen: Seen, elsewhere: Elsewhere
) -> None:
    """The vision model goes on to look at images that requests carry; prepare.yml shows vLLM without a list fetch from every host."""
    answers = {url: ask(url) for url in (*SPELLINGS, *REFUSED)}
    assert [url for url, status in answers.items() if status < 400] == []
    assert ask_as_tenant("http://images.example.org/picture") >= 400
    assert seen() == []
    assert elsewhere() == 0
    assert ask_as_tenant(inline(0)) == 200
