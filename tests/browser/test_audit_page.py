# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of an audit in a real browser: it asks nobody for anything, logs no error, and axe-core has nothing to say.

Both the page in which everything occurs and the one of the sample in docs are looked at. ``make page`` brings axe-core and
runs this; chromium has to be installed. Without either every test fails: a page nobody looked at is not good.
"""

from __future__ import annotations

import datetime
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.asked import judged
from ansible_collections.hardened.vllm.plugins.plugin_utils.report.audit.formats import FORMATS
from support.audit_result import result

AXE = Path(__file__).resolve().parents[2] / ".cache/axe/package/axe.min.js"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SAMPLE = Path(__file__).resolve().parents[2] / "docs/sample/evidence.json"
RUN = """
axe.run().then((found) => {
  const place = document.createElement("pre");
  place.id = "axe-result";
  place.textContent = JSON.stringify({violations: found.violations.map((one) => [one.id, one.impact]), passes: found.passes.length});
  document.body.appendChild(place);
});
"""


@pytest.fixture(autouse=True)
def tools() -> None:
    """Fail where the browser or axe-core is missing."""
    assert CHROMIUM is not None, "there is no chromium: apt-get install chromium"
    assert AXE.exists(), "there is no axe-core: make page brings it, by npm"


def pages() -> dict[str, str]:
    """The pages to look at, by name."""
    evidence = json.loads(SAMPLE.read_text(encoding="utf-8"))
    sample = judged(evidence, {}, [], {}, datetime.date(2026, 11, 25))
    results = {"all": result(), "hostile": result(hostile=True), "sample": sample}
    return {name: FORMATS["html"](one) for name, one in results.items()}


def browse(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    argv = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    # Whatever the browser itself would like to ask stays here.
    argv += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--disable-sync", "--no-first-run"]
    argv += ["--disable-component-update", "--disable-features=OptimizationHints,OptimizationGuideModelDownloading"]
    argv += ["--enable-logging=stderr", f"--user-data-dir={page.parent / 'profile'}"]
    done = subprocess.run([*argv, *options, page.as_uri()], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done


def axe_says(page: Path, text: str) -> Any:
    """What axe-core says of a page, whose own policy would keep it out."""
    script = AXE.read_text(encoding="utf-8").replace("</script", "<\\/script")
    open_text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    page.write_text(
        open_text.replace("</body>", f"<script>{script}</script><script>{RUN}</script></body>"), encoding="utf-8"
    )
    done = browse(page, "--virtual-time-budget=30000", "--dump-dom")
    (found,) = re.findall(r'<pre id="axe-result">(.*?)</pre>', done.stdout, re.DOTALL)
    return json.loads(found)


@pytest.mark.parametrize("name", ["all", "hostile", "sample"])
def test_axe_has_nothing_to_say(tmp_path: Path, name: str) -> None:
    found = axe_says(tmp_path / "page.html", pages()[name])
    assert found["violations"] == []
    assert found["passes"] > 20


def test_axe_would_have_something_to_say(tmp_path: Path) -> None:
    spoilt = FORMATS["html"](result()).replace(' lang="en-GB"', "").replace("--quiet: #4a4a55", "--quiet: #cccccc")
    found = axe_says(tmp_path / "page.html", spoilt)
    assert {"html-has-lang", "color-contrast"} <= {name for name, _impact in found["violations"]}


def asked(place: Path, text: str) -> tuple[set[str], str]:
    """The hosts a page makes the browser ask, those it asks by itself included, and what was logged."""
    place.mkdir()
    page, log, picture = place / "page.html", place / "net.json", place / "page.png"
    page.write_text(text, encoding="utf-8")
    done = browse(page, f"--log-net-log={log}", f"--screenshot={picture}", "--window-size=1280,3000")
    assert picture.stat().st_size > 1000
    return set(re.findall(r'"url":"https?://([^/:"]+)', log.read_text(encoding="utf-8"))), done.stderr


def test_no_request_leaves_it_and_no_error_is_logged(tmp_path: Path) -> None:
    itself, _logged = asked(tmp_path / "empty", "<title>nothing</title>")
    for name, page in pages().items():
        hosts, logged = asked(tmp_path / name, page)
        assert hosts <= itself
        assert "CONSOLE" not in logged
    hosts, logged = asked(tmp_path / "spoilt", "<script>console.error('x')</script><img src='http://127.0.0.1:9/x'>")
    assert hosts - itself == {"127.0.0.1"}
    assert "CONSOLE" in logged
