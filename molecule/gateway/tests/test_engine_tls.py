"""TLS to the engines: what is read on the way without it, false engines, and strangers at an engine that asks for a certificate."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gateway.support import CHECKOUT, EDGE4, LAB, UPSTREAM, Answer, Seen, Send, chat, playbook
from testinfra.host import Host

PORT = 8001
SECRETS = LAB / "secrets" / "tls"
PROMPT = "what only the engine may read"
CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
# nginx as most write it: TLS to the engine, and no look at who answers.
CARELESS = f"""
pid /run/careless.pid;
events {{}}
http {{
    access_log off;
    server {{ listen {EDGE4}:8083; location / {{ proxy_pass https://{UPSTREAM}:{PORT}; }} }}
}}
"""


def openssl(*words: Any) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def declared(client: bool = False, **more: Any) -> list[str]:
    """Return the options for engines that speak TLS, on a port beside that of the plain ones."""
    told = {"gateway_scenario_engine_tls": {"client": client, **more}, "gateway_scenario_engine_port": PORT}
    return ["-e", json.dumps(told)]


def run(*options: str, name: str = "molecule/gateway/converge.yml") -> str:
    done = playbook(*options, name=name)
    assert done.returncode == 0, done.stdout
    return done.stdout


Serve = Callable[..., None]


@pytest.fixture(scope="module")
def serve(engines: list[Host]) -> Iterator[Serve]:
    """Return a function that puts stand-ins with a certificate (PEM with its key, none for plain HTTP) on the second port."""

    def put(pem: str = "", authority: str = "") -> None:
        for host in engines:
            files = [("/root/tls.pem", pem), ("/root/clients.pem", authority)]
            for path, text in files:
                host.run_expect([0], f"cat > {path} <<'END'\n{text}\nEND")
            used = " ".join(path for path, text in files if text)
            address = host.check_output("ip -4 -o addr show | grep -o '10[.]207[.]1[.][0-9]*' | head -1")
            host.run("systemctl stop engine-tls.service; systemctl reset-failed engine-tls.service")
            words = f"/usr/bin/python3 /opt/recorder.py {address} {PORT} /root/record.jsonl {used}"
            host.run_expect([0], f"systemd-run --quiet --unit=engine-tls {words}")
            host.run_expect([0], f"for i in $(seq 50); do ss -Hltn | grep -q :{PORT} && exit; sleep 0.1; done; exit 1")
        # An engine that failed twice is asked again after five seconds; until then a refusal tells nothing.
        time.sleep(6)

    yield put
    for host in engines:
        host.run("systemctl stop engine-tls.service; rm -f /root/tls.pem /root/clients.pem")


@pytest.fixture(scope="module", autouse=True)
def back() -> Iterator[None]:
    """Speak plainly again when all is over."""
    yield
    run()


def made(
    place: Path, name: str, *, subject: str = "engines.internal", signer: Path | None = None, days: int = 2
) -> str:
    """Return a certificate with its key, by ``signer`` (whose key lies beside it) or by itself."""
    key, request, certificate = (place / f"{name}{end}" for end in (".key", ".request", ".pem"))
    extensions = place / "extensions"
    extensions.write_text(f"subjectAltName=DNS:{subject}\nextendedKeyUsage=serverAuth\nauthorityKeyIdentifier=keyid\n")
    openssl("req", "-new", *CURVE, "-keyout", key, "-subj", f"/CN={subject}", "-out", request)
    words = ["-CA", signer, "-CAkey", signer.with_suffix(".key"), "-CAcreateserial"] if signer else ["-signkey", key]
    openssl("x509", "-req", "-in", request, *words, "-days", days, "-extfile", extensions, "-out", certificate)
    return key.read_text() + certificate.read_text()


def foreign(place: Path) -> Path:
    """Return an authority nobody has declared."""
    authority = place / "foreign.pem"
    openssl("req", "-x509", *CURVE, "-keyout", authority.with_suffix(".key"), "-subj", "/CN=foreign", "-out", authority)
    return authority


def own(name: str) -> str:
    return (SECRETS / f"{name}.key").read_text() + (SECRETS / f"{name}.pem").read_text()


def ask(send: Send, keys: dict[str, str]) -> Answer:
    body = {"model": "stand-in", "messages": [{"role": "user", "content": PROMPT}]}
    return send([chat(keys["acme"], body)])[0]


@pytest.fixture
def wire(gateway: Host) -> Iterator[Callable[[], bytes]]:
    """What went between the gateway and the engines since the test began, in both ports."""
    code = (CHECKOUT / "molecule/gateway/files/wire.py").read_text()
    gateway.run_expect([0], f"cat > /root/wire.py <<'END'\n{code}END")
    for port in (8000, PORT):
        gateway.run_expect(
            [0], f"systemd-run --quiet --unit=wire-{port} /usr/bin/python3 /root/wire.py {port} /root/wire-{port}"
        )
    gateway.run_expect([0], "sleep 1")

    def read() -> bytes:
        gateway.run_expect([0], "sleep 0.5")
        return bytes.fromhex(
            gateway.check_output("cat /root/wire-8000 /root/wire-8001 | od -An -v -tx1 | tr -d ' \\n'")
        )

    yield read
    gateway.run_expect([0], f"systemctl stop wire-8000 wire-{PORT}; rm /root/wire*")


def test_in_plain_http_the_way_shows_key_and_prompt(
    send: Send, keys: dict[str, str], wire: Callable[[], bytes]
) -> None:
    assert ask(send, keys).status == 200
    seen = wire()
    assert keys["upstream"].encode() in seen and PROMPT.encode() in seen


def test_preflight_says_what_is_to_be_made() -> None:
    text = " ".join(run(*declared(client=True), name="playbooks/preflight.yml").split())
    for name in ("engines", "gateways"):
        assert f"secrets/tls/{name}.pem is yet to be made" in text
    assert not SECRETS.exists()


def test_a_run_that_would_lose_the_engines_is_put_back(gateway: Host, send: Send, keys: dict[str, str]) -> None:
    done = playbook(*declared(client=True))
    assert done.returncode != 0
    text = " ".join(done.stdout.split())
    assert "requests got through to an engine before the change" in text
    for name in ("engines", "gateways"):
        assert f"secrets/tls/{name}.pem ends " in text
        assert (SECRETS / f"{name}-authority.key").stat().st_mode & 0o777 == 0o600
    assert ask(send, keys).status == 200
    assert not gateway.file("/etc/hardened-vllm/gateway/engines.pem").exists


def test_engines_with_their_certificate_take_over(gateway: Host, serve: Serve) -> None:
    serve(own("engines"))
    run(*declared())
    assert not gateway.file("/etc/hardened-vllm/gateway/engines-client.pem").exists


def test_over_tls_requests_arrive_and_the_way_shows_nothing(
    send: Send, seen: Seen, keys: dict[str, str], wire: Callable[[], bytes]
) -> None:
    assert ask(send, keys).status == 200
    assert any(PROMPT in one["body"] and keys["upstream"] in one["head"] for one in seen())
    shown = wire()
    assert shown, "nothing was seen of the connections at all"
    assert keys["upstream"].encode() not in shown and PROMPT.encode() not in shown


def test_a_second_run_changes_nothing() -> None:
    assert "changed=0" in run(*declared()).split("PLAY RECAP")[1]


@pytest.fixture(scope="module")
def false_engines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Certificates with their keys that are not the engines', by what is wrong with them."""
    place, ours = tmp_path_factory.mktemp("false"), SECRETS / "engines-authority.pem"
    return {
        "no TLS": "",
        "signed by itself": made(place, "itself"),
        "another authority's": made(place, "another", signer=foreign(place)),
        "another name": made(place, "name", subject="other.engines.internal", signer=ours),
        "over": made(place, "over", signer=ours, days=-1),
        "the gateways' own": own("gateways"),
    }


def test_a_careless_proxy_gives_the_key_to_a_false_engine(
    gateway: Host, serve: Serve, send: Send, seen: Seen, false_engines: dict[str, str]
) -> None:
    gateway.run_expect([0], f"cat > /root/careless.conf <<'END'\n{CARELESS}\nEND")
    gateway.run_expect([0], "nginx -c /root/careless.conf >/dev/null 2>&1")
    try:
        for name in ("signed by itself", "another authority's", "another name", "over"):
            serve(false_engines[name])
            body = chat("the-key-of-the-proxy-0123456789", {"messages": PROMPT})
            assert send([body], port=8083, sni=None)[0].status == 200, name
            assert any("the-key-of-the-proxy-0123456789" in one["head"] for one in seen()), name
    finally:
        gateway.run_expect([0], "kill $(cat /run/careless.pid); rm /root/careless.conf")


@pytest.mark.parametrize(
    "name", ["no TLS", "signed by itself", "another authority's", "another name", "over", "the gateways' own"]
)
def test_a_false_engine_gets_no_request(
    serve: Serve, send: Send, seen: Seen, keys: dict[str, str], false_engines: dict[str, str], name: str
) -> None:
    serve(false_engines[name])
    answers = [ask(send, keys) for _time in range(3)]
    # Without TLS the engine waits for the end of a request that never comes.
    # After two failures there is no engine to ask for a while.
    assert {answer.status for answer in answers} <= {502, 503, 504}
    assert seen() == []


def test_the_true_engine_is_served_again(serve: Serve, send: Send, keys: dict[str, str]) -> None:
    serve(own("engines"))
    assert ask(send, keys).status == 200


def curl(gateway: Host, *words: str) -> int:
    """Ask an engine from the gateway's host, which its firewall lets through; return curl's exit code."""
    found = gateway.run(f"curl --silent --max-time 5 --insecure {' '.join(words)} https://{UPSTREAM}:{PORT}/metrics")
    return int(found.rc)


def test_without_client_certificates_whoever_gets_through_the_firewall_is_answered(gateway: Host) -> None:
    assert curl(gateway) == 0


def test_an_engine_that_asks_for_a_certificate_answers_the_gateways_only(
    gateway: Host, serve: Serve, send: Send, seen: Seen, keys: dict[str, str], tmp_path: Path
) -> None:
    serve(own("engines"), (SECRETS / "gateways-authority.pem").read_text())
    assert ask(send, keys).status == 502, "the gateway shows no certificate yet"
    run(*declared(client=True))
    assert ask(send, keys).status == 200
    assert len(seen()) >= 1
    before = len(seen())
    pairs = {
        "another's": made(tmp_path, "another", subject="gateways.engines.internal", signer=foreign(tmp_path)),
        "the engines'": own("engines"),
    }
    assert curl(gateway) != 0
    for name, pem in pairs.items():
        gateway.run_expect([0], f"cat > /root/pair.pem <<'END'\n{pem}\nEND")
        assert curl(gateway, "--cert", "/root/pair.pem") != 0, name
    gateway.run_expect([0], "rm /root/pair.pem")
    assert len(seen()) == before
    assert curl(gateway, "--cert", "/etc/hardened-vllm/gateway/engines-client.pem") == 0
    kept = gateway.file("/etc/hardened-vllm/gateway/engines-client.pem")
    assert (kept.mode, kept.user, kept.group) == (0o640, "root", "hardened-vllm-gateway")


def test_certificates_of_ones_own_are_looked_at_before_any_host_is_changed(tmp_path: Path) -> None:
    authority = foreign(tmp_path)
    for name, days in (("good", 30), ("over", -1)):
        made(tmp_path, name, signer=authority, days=days)
    told = {"issuer": "files", "authority": str(authority), "key": str(tmp_path / "good.key")}
    good = run(*declared(**told, certificate=str(tmp_path / "good.pem")), name="playbooks/preflight.yml")
    assert "good.pem ends " in " ".join(good.split())
    wrong = {
        "is over since": {"certificate": str(tmp_path / "over.pem")},
        "is not that of the certificate": {
            "certificate": str(tmp_path / "good.pem"),
            "key": str(authority.with_suffix(".key")),
        },
        "is not one for a server that": {
            "certificate": str(SECRETS / "engines.pem"),
            "key": str(SECRETS / "engines.key"),
        },
        "is not for elsewhere.internal": {"certificate": str(tmp_path / "good.pem"), "name": "elsewhere.internal"},
    }
    for said, mistake in wrong.items():
        done = playbook(*declared(**{**told, **mistake}), name="playbooks/preflight.yml")
        assert done.returncode != 0 and said in " ".join(done.stdout.split()), done.stdout


def test_back_in_plain_http_nothing_of_it_is_left(gateway: Host, send: Send, keys: dict[str, str]) -> None:
    run()
    assert ask(send, keys).status == 200
    assert not gateway.file("/etc/hardened-vllm/gateway/engines.pem").exists
    assert not gateway.file("/etc/hardened-vllm/gateway/engines-client.pem").exists
