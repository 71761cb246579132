"""The demo: from bare nodes to an answer of a real model through the gateway."""

from __future__ import annotations

import fcntl
import shlex
import shutil
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import openai
import yaml

from lab import images, inventory, labs, playbook
from lab.credentials import Credentials
from lab.errors import LabError
from lab.host import Host
from lab.paths import CHECKOUT, STATE, lab_directory, private_directory, read_text, write_file
from lab.progress import Progress
from lab.spec import LabSpec, load

HERE = Path(__file__).parent
SPEC = HERE / "specs" / "demo.yml"
GROUP_VARS = HERE / "demo" / "group_vars"
INVENTORY = STATE / "inventory"
LOG = STATE / "logs" / "site.log"
ENV = STATE / "demo.env"
SHOWN_BYTES = 10_000_000
QUESTION = "What is the capital of France?"


@dataclass(frozen=True)
class Access:
    """How a client reaches the demo's gateway: base URL for openai, CA file, tenant key file, model's name."""

    url: str
    ca_file: Path
    key_file: Path
    model: str


def access(spec: LabSpec) -> Access:
    """Return how to reach the demo, from its lab's description and its group_vars."""
    if spec.tls is None:
        raise LabError(f"{SPEC} has no tls entry", "name the gateway's node and DNS names there")
    file = GROUP_VARS / "all.yml"
    try:
        cluster = yaml.safe_load(read_text(file, "it belongs to the checkout; restore it"))["vllm_cluster"]
        tenant = cluster["tenants"][0]
        key = f"{tenant['name']}/{tenant['keys'][0]['id']}.key"
        model = str(cluster["model"]["name"])
    except (yaml.YAMLError, KeyError, IndexError, TypeError) as error:
        raise LabError(
            f"{file}: no vllm_cluster with a model's name and a tenant with a key ({error!r})", "correct that file"
        ) from error
    directory = lab_directory(spec.name)
    address = spec.addresses(spec.node(spec.tls.node), "edge")[0]
    return Access(f"https://{address}/v1", Credentials(directory).ca, directory / "secrets" / "tenants" / key, model)


def up() -> None:
    """Bring everything up, ask a question through the gateway, and print how to go on."""
    progress = Progress()
    with _only_one():
        spec = load(SPEC)
        labs.up(SPEC, progress)
        _write_inventory(spec)
        with progress.step("playbooks/site.yml"):
            changed = playbook.run(CHECKOUT / "playbooks" / "site.yml", INVENTORY, LOG, progress)
        progress.say("changed tasks: " + ", ".join(f"{host} {count}" for host, count in sorted(changed.items())))
        way = access(spec)
        write_file(ENV, env_file(way), 0o600)
        with progress.step("a question through the gateway"):
            answer = ask(way, QUESTION)
        progress.say(f"asked:    {QUESTION}")
        progress.say(f"answered: {answer}")
        print(instructions(way), flush=True)
        used = labs.disk_use(Host())
        for name, size in [
            *[entry for entry in used if entry[1] > SHOWN_BYTES],
            ("all", sum(size for _, size in used)),
        ]:
            print(f"  {size / 1e9:6.2f} GB  {name}")
        progress.say("the demo is up; 'make demo-down' removes it")


def down() -> None:
    """Remove every lab of this checkout, the images, and .lab; other containers and .venv stay."""
    progress = Progress()
    with _only_one():
        for name in labs.own_names(Host()):
            labs.down(name, progress)
        host = Host()  # taking the last lab down ended the namespace a former one would still point at
        if removed := images.remove(host, keep_current=False):
            progress.say(f"removed {', '.join(removed)}")
        labs.release_host(host)
        if STATE.exists():
            shutil.rmtree(STATE)
            progress.say(f"removed {STATE}")


def ask(way: Access, question: str) -> str:
    """Return the model's answer to a question; LabError when the gateway or the model does not give one."""
    trusted = ssl.create_default_context(cafile=str(way.ca_file))
    key = read_text(way.key_file, "playbooks/site.yml makes it; run 'make demo' again").strip()
    # trust_env off: a proxy of this machine must not carry what stays inside the lab.
    http = openai.DefaultHttpxClient(verify=trusted, trust_env=False)
    try:
        with openai.OpenAI(base_url=way.url, api_key=key, http_client=http, timeout=120, max_retries=0) as client:
            reply = client.chat.completions.create(
                model=way.model, messages=[{"role": "user", "content": question}], max_tokens=48, temperature=0
            )
    except openai.OpenAIError as error:
        raise LabError(
            f"no answer from {way.url}: {error} ({error.__cause__ or 'no further cause'})",
            "see 'lab exec demo gateway -- journalctl -u nginx' and "
            "'lab exec demo engine1 -- journalctl -u hardened-vllm-engine', then run 'make demo' again",
        ) from error
    text = (reply.choices[0].message.content or "").strip()
    if not text:
        raise LabError(
            f"{way.url} answered, but with no text", "run 'make demo' again; the reply was empty", str(reply)
        )
    return text


def env_file(way: Access) -> str:
    """Return the text of .lab/demo.env, which a shell can source."""
    values = {"URL": way.url, "CA_FILE": str(way.ca_file), "KEY_FILE": str(way.key_file), "MODEL": way.model}
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def instructions(way: Access) -> str:
    """Return what to paste into a shell to use the demo."""
    ca, key = shlex.quote(str(way.ca_file)), shlex.quote(str(way.key_file))
    ansible = shlex.quote(str(CHECKOUT / ".venv" / "bin" / "ansible"))
    python = shlex.quote(str(CHECKOUT / ".venv" / "bin" / "python"))
    return f"""
URL    {way.url}   (base URL of the OpenAI API; {ENV} has it for shells)
CA     {way.ca_file}
key    {way.key_file}   (tenant's key)
hosts  {ansible} -i {INVENTORY} all -m ping

With curl (the key goes through a pipe, so no process list shows it):

printf 'header = "Authorization: Bearer %s"\\n' "$(cat {key})" | curl --silent --show-error --config - --noproxy '*' --cacert {ca} {way.url}/chat/completions -H 'Content-Type: application/json' -d '{{"model": "{way.model}", "max_tokens": 48, "temperature": 0, "messages": [{{"role": "user", "content": "{QUESTION}"}}]}}'

With Python and the openai package:

{python} - <<'END'
import ssl, openai
client = openai.OpenAI(
    base_url={way.url!r},
    api_key=open({str(way.key_file)!r}).read().strip(),
    http_client=openai.DefaultHttpxClient(verify=ssl.create_default_context(cafile={str(way.ca_file)!r}), trust_env=False),
)
for part in client.chat.completions.create(
    model={way.model!r}, max_tokens=48, temperature=0, stream=True, messages=[{{"role": "user", "content": "{QUESTION}"}}]
):
    print(part.choices[0].delta.content or "", end="", flush=True)
print()
END

Disk in use:"""  # noqa: E501 - a command to paste is one line


def _write_inventory(spec: LabSpec) -> None:
    write_file(INVENTORY / "hosts.yml", inventory.path(spec.name).read_text(), 0o600)
    target = INVENTORY / "group_vars"
    wanted = {file.relative_to(GROUP_VARS): file for file in GROUP_VARS.rglob("*") if file.is_file()}
    for held in [file for file in target.rglob("*") if file.is_file()]:
        if held.relative_to(target) not in wanted:
            held.unlink()
    for name, file in wanted.items():
        write_file(target / name, file.read_bytes(), 0o644)


@contextmanager
def _only_one() -> Iterator[None]:
    private_directory(STATE)
    with (STATE / ".demo-run.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LabError(
                "another 'make demo' or 'make demo-down' of this checkout is at work", "wait for it"
            ) from error
        yield
