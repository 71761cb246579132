# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every command of the documentation has somebody who runs it, and asks for what exists; every YAML of it is planned or checked."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan
from ansible_collections.hardened.vllm.plugins.plugin_utils.inventory import clusters
from support import documents
from support.documents import ROOT, Command

TABLE = documents.table()
PAGES = documents.pages()
COMMANDS = [one for page, text in PAGES.items() for one in documents.commands(page, text)]
# Runbooks and the heads of the playbooks have runners of their own; what they name has to exist all the same.
HEADS = [path for pattern in ("docs/runbooks/*.md", "playbooks/*.yml") for path in sorted(ROOT.glob(pattern))]
# Beside those of the example: what docs/runbooks/add-node.md declares.
FURTHER_HOSTS = {"engine3"}
STANDS_FOR = {"NAME": "engine1", "NODE": "engine1", "HOST": "engine1", "chat": "chat"}
MONTHS = datetime.timedelta(days=180)


def runners() -> dict[str, str]:
    """What runs each command of the table, by command."""
    found = dict.fromkeys(TABLE["named"], "named")
    for kind in ("refused", "whole", "elsewhere", "unrun"):
        found |= {" ".join(command.split()): kind for command in TABLE[kind]}
    return found


def without_runner(commands: list[Command]) -> list[Command]:
    known = runners()
    return [one for one in commands if one.text not in known and not re.match(r"([A-Z_]+=\S+ )?make ", one.text)]


def read_hosts(name: str = "data-parallel") -> tuple[dict[str, list[str]], dict[str, dict[str, Any]]]:
    folder = documents.SAMPLES / name
    hosts = yaml.safe_load((folder / "hosts.yml").read_text(encoding="utf-8"))
    variables = yaml.safe_load((folder / "group_vars/all.yml").read_text(encoding="utf-8"))
    hosts["all"]["vars"] = placed(variables)
    return documents.hosts_of(hosts)


def placed(value: Any) -> Any:
    """The value with a directory in the place of Ansible's variable for it."""
    return yaml.safe_load(yaml.safe_dump(value).replace("{{ inventory_dir }}", "/srv/inventory"))


def planned(inventory: Any) -> list[dict[str, Any]]:
    """The plan of every cluster of an inventory; fails when something is wrong with it today."""
    found, problems = clusters(*documents.hosts_of(placed(inventory)))
    assert not problems and found
    for cluster in found.values():
        for waiver in cluster["declaration"].get("waivers", []):
            last = datetime.date.fromisoformat(str(waiver["expires"]))
            assert last > datetime.date.today() + MONTHS, f"a waiver that ends on {last} is soon no example any more"
    return [plan(one["declaration"], one["hosts"], datetime.date.today()) for one in found.values()]


def merged(below: Any, above: Any) -> Any:
    """A fragment of a page laid over the whole declaration; what says one of several ways replaces the other way."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    whole = {"tls", "model", "install"}
    both = below.keys() & above.keys() - whole
    return {**below, **above, **{key: merged(below[key], above[key]) for key in both}}


def fragments() -> Iterator[tuple[str, int, Any]]:
    for page, text in PAGES.items():
        yield from ((page, number, value) for number, value in enumerate(documents.declared(page, text)))


DECLARED = [(page, number, value) for page, number, value in fragments() if isinstance(value, dict)]
PLAYS = [(page, number, value) for page, number, value in fragments() if isinstance(value, list)]


def test_there_is_something_to_look_at() -> None:
    assert len(COMMANDS) > 60 and len(DECLARED) >= 20 and len(PLAYS) >= 2
    assert {"README.md", "docs/audit.md", "roles/engine/README.md", "docs/rules.md"} <= {one.page for one in COMMANDS}


def test_no_link_is_dead(tmp_path: Path) -> None:
    places = [*PAGES, "molecule/README.md", *(str(path.relative_to(ROOT)) for path in HEADS if path.suffix == ".md")]
    assert {page: dead for page in places if (dead := documents.dead_links(ROOT / page))} == {}
    page = tmp_path / "page.md"
    page.write_text(
        "# One `x`, two\n[a](#one-x-two) [b](#two) [c](other.md) [d](https://example.org/)\n", encoding="utf-8"
    )
    assert documents.dead_links(page) == ["#two", "other.md"]


def test_every_block_says_what_it_holds() -> None:
    known = {*documents.TYPED, *documents.OTHERS}
    for page, text in PAGES.items():
        if page not in documents.ARTEFACTS:
            assert {language for language, _body in documents.blocks(text)} <= known, page


def test_every_command_has_a_runner_and_every_runner_a_command() -> None:
    assert without_runner(COMMANDS) == []
    assert set(runners()) - {one.text for one in COMMANDS} == set()


def test_a_command_without_a_runner_is_found() -> None:
    page = (
        "Do `nft flush ruleset` or\n\n```sh\nls   -l # all\nmake unit\n```\n\n    ansible-playbook x\n        -e y=z\n"
    )
    found = without_runner(list(documents.commands("page", page)))
    assert [one.text for one in found] == ["ls -l", "ansible-playbook x -e y=z", "nft flush ruleset"]


@pytest.mark.parametrize("command", list(TABLE["elsewhere"]))
def test_the_runner_elsewhere_has_it(command: str) -> None:
    runner = TABLE["elsewhere"][command]
    assert runner["holds"] in (ROOT / runner["file"]).read_text(encoding="utf-8")


def wrong(text: str) -> list[str]:
    """What a command for a playbook names that does not exist."""
    asked = documents.call(documents.typed(text, {}))
    if asked is None:
        return []
    if not (ROOT / f"playbooks/{asked.playbook}.yml").is_file():
        return [f"the playbook {asked.playbook}"]
    groups, variables = read_hosts()
    unknown = [name for name in asked.variables if name not in documents.known_variables(asked.playbook)]
    places = [value for name, value in asked.variables.items() if name.endswith(("_node", "_host"))]
    hosts = {place for value in [*places, asked.limit] for place in re.split("[,:]", value) if place}
    hosts = {STANDS_FOR.get(host, host) for host in hosts}
    cluster = variables["engine1"]["vllm_cluster"]
    named = {"reset_cluster": {cluster["name"], "NAME"}, "rotate_tenant": {cluster["tenants"][0]["name"], "NAME"}}
    other = [
        f"{name}={asked.variables[name]}"
        for name, known in named.items()
        if asked.variables.get(name, "NAME") not in known
    ]
    return [*unknown, *sorted(hosts - {*groups, *variables, *FURTHER_HOSTS}), *other]


def test_commands_for_playbooks_name_what_exists() -> None:
    texts = {one.text: one.page for one in COMMANDS}
    for path in HEADS:
        text = re.sub(r"(?m)^#   \[", "[", path.read_text(encoding="utf-8"))
        lines = re.findall(r"(?m)^(?:# )?(ansible-playbook [^()\n]*?)(?:\)\"| [|] grep.*|   .*)?$", text)
        texts |= {re.sub(r" \[and what .*\]$", "", line): path.name for line in lines}
    calls = [text for text in texts if documents.call(documents.typed(text, {}))]
    assert len(calls) > 40
    assert {text: (found, texts[text]) for text in calls if (found := wrong(text))} == {}


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("ansible-playbook hardened.vllm.nothing", ["the playbook nothing"]),
        ("ansible-playbook hardened.vllm.drain -e drain_nodes=engine1", ["drain_nodes"]),
        ("ansible-playbook hardened.vllm.drain -e drain_node=engine7", ["engine7"]),
        ("ansible-playbook hardened.vllm.site --limit vllm_node", ["vllm_node"]),
        ("ansible-playbook hardened.vllm.reset -e reset_cluster=chta", ["reset_cluster=chta"]),
        ("ansible-playbook hardened.vllm.reset -e reset_cluster=chat [--limit HOST]", []),
    ],
)
def test_what_does_not_exist_is_found(command: str, found: list[str]) -> None:
    assert wrong(command) == found


def test_make_has_every_target() -> None:
    words = {word for one in COMMANDS if re.match(r"([A-Z_]+=\S+ )?make ", one.text) for word in one.text.split()}
    targets = sorted(word for word in words if word != "make" and "=" not in word)
    assert len(targets) > 20
    rules = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in targets:
        if target.startswith("molecule-"):
            assert (ROOT / f"molecule/{target.removeprefix('molecule-')}/molecule.yml").is_file(), target
        else:
            assert re.search(rf"(?m)^{target}:", rules), target


def test_the_quickstart_is_the_sample() -> None:
    first, second = (body for language, body in documents.blocks(PAGES["README.md"]) if language == "yaml")
    for body, name in ((first, "hosts.yml"), (second, "group_vars/all.yml")):
        assert f"---\n{body}" == (documents.QUICKSTART / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(path.name for path in documents.SAMPLES.iterdir()))
def test_every_sample_is_planned(name: str) -> None:
    groups, variables = read_hosts(name)
    found, problems = clusters(groups, variables)
    assert not problems
    made = plan(found["chat"]["declaration"], found["chat"]["hosts"], datetime.date.today())
    assert set(made["hosts"]) == {"engine1", "engine2", "gateway1"}


@pytest.mark.parametrize(
    ("page", "number", "value"), DECLARED, ids=lambda one: str(one) if isinstance(one, str) else ""
)
def test_every_declaration_is_planned(page: str, number: int, value: dict[str, Any]) -> None:
    if "vllm_cluster" in str(value.get("all")):
        planned(value)
        return
    inventory = yaml.safe_load((documents.QUICKSTART / "hosts.yml").read_text(encoding="utf-8"))
    variables = yaml.safe_load((documents.QUICKSTART / "group_vars/all.yml").read_text(encoding="utf-8"))
    assert set(value) <= {"all", "vllm_cluster"}, f"block {number} of {page} is neither inventory nor declaration"
    inventory = merged(inventory, {"all": value["all"]} if "all" in value else {})
    inventory["all"]["vars"] = merged(variables, {key: value[key] for key in value if key != "all"})
    planned(inventory)


def test_what_is_wrong_in_a_declaration_is_found() -> None:
    for spoilt in ({"tennants": []}, {"topology": "ring"}, {"gateway": {"port": "https"}}):
        with pytest.raises(Exception, match="error"):
            test_every_declaration_is_planned("page", 0, {"vllm_cluster": spoilt})
    waiver = {"rule": "VER-01", "reason": "Being tested.", "expires": str(datetime.date.today() + MONTHS / 2)}
    with pytest.raises(AssertionError, match="no example any more"):
        test_every_declaration_is_planned("page", 0, {"vllm_cluster": {"waivers": [waiver]}})


@pytest.mark.parametrize(("page", "number", "value"), PLAYS, ids=lambda one: str(one) if isinstance(one, str) else "")
def test_every_play_names_what_exists(page: str, number: int, value: list[dict[str, Any]]) -> None:
    known = {"ansible_pipelining"}
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values():
            known |= set(entry.get("options", {}))
    groups, _variables = read_hosts()
    for play in value:
        assert set(re.split("[:,]", play["hosts"])) <= set(groups), (page, number)
        assert set(play.get("vars", {})) <= known
        for role in play["roles"]:
            assert (ROOT / "roles" / role.removeprefix("hardened.vllm.")).is_dir()


def options_of(text: str) -> dict[str, Any]:
    """The options of a module's documentation, those of its fragments with them."""
    (documentation,) = re.findall(r'(?ms)^DOCUMENTATION = r"""\n(.*?)^"""', text)
    told = yaml.safe_load(documentation)
    found = dict(told.get("options") or {})
    for name in told.get("extends_documentation_fragment") or []:
        file, _dot, part = name.removeprefix("hardened.vllm.").partition(".")
        fragment = (ROOT / f"plugins/doc_fragments/{file}.py").read_text(encoding="utf-8")
        (text_of_it,) = re.findall(rf'(?ms)^    {(part or "documentation").upper()} = r"""\n(.*?)"""', fragment)
        found |= yaml.safe_load(text_of_it).get("options") or {}
    return found


@pytest.mark.parametrize(
    ("path", "tasks"), documents.examples().items(), ids=lambda one: one if isinstance(one, str) else ""
)
def test_examples_ask_for_what_exists(path: str, tasks: list[dict[str, Any]]) -> None:
    for task in tasks:
        for name in [key for key in task if key.startswith("hardened.vllm.")]:
            module = ROOT / f"plugins/modules/{name.rsplit('.', 1)[1]}.py"
            action = ROOT / f"plugins/action/{module.name}"
            text = (module if module.is_file() else action).read_text(encoding="utf-8")
            options = options_of(text)
            given = task[name] or {}
            assert set(given) <= set(options), path
            assert {one for one, option in options.items() if option.get("required")} <= set(given), path
        for expression in re.findall(r"\{\{.*?\}\}", str(task)):
            for kind, name in re.findall(r"(\||lookup\(')\s*hardened\.vllm\.(\w+)", expression.replace("\\'", "'")):
                folder = "filter" if kind == "|" else "lookup"
                assert (ROOT / f"plugins/{folder}/{name}.py").is_file(), (path, name)
