"""`make docs`: the documentation as a site. The generator comes from uv's cache, else from the package index."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.support.documentation import PAGES
from tests.support.installation import fetched, new_environment, uv
from tests.support.processes import ROOT

pytestmark = pytest.mark.timeout(900)

ASKED_FOR = re.compile(r"<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=\"?((?:https?:)?//[^\s\">]+)")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the extra `docs` alone."""
    python = new_environment(tmp_path_factory.mktemp("docs"))
    with fetched("the packages of the extra docs"):
        packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["docs"]
        uv("pip", "install", "--python", python, "--constraint", ROOT / "constraints.txt", *packages)
    return python


def build(python: Path, tree: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, tree / "scripts/docs", folder], capture_output=True, text=True, timeout=300)


def test_every_page_is_there_and_asks_for_nothing_elsewhere(python: Path, tmp_path: Path) -> None:
    done = build(python, ROOT, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    site = tmp_path / "site"
    pages = {path.stem for path in PAGES if path.parent == ROOT / "docs" and path.name != "README.md"}
    assert {path.stem for path in site.glob("*.html")} >= pages | {"index"}
    assert (site / "project/CHANGELOG.html").is_file()
    assert "peak" in (site / "search.json").read_text()
    for page in site.rglob("*.html"):
        assert not ASKED_FOR.findall(page.read_text()), page
    settings = (site / "settings.html").read_text()
    assert "<table" in settings
    assert 'id="kafka"' in settings


@pytest.mark.parametrize("link", ["none.md", "alerts.md#none"])
def test_a_link_that_leads_nowhere_ends_it(python: Path, tmp_path: Path, link: str) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "docs", tree / "docs")
    for name in (
        "scripts/docs",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "examples",
        "scorer/nano/README.md",
        "streams/web/page/vendor",
    ):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tree / name)
    page = tree / "docs/queue.md"
    page.write_text(f"{page.read_text()}\n[nowhere]({link})\n")
    done = build(python, tree, tmp_path / "out")
    assert done.returncode != 0
    assert link.partition("#")[2] or link in done.stdout + done.stderr
