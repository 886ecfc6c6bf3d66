"""Which module of training imports which: one direction only, never `streams`, and no torch where it is not needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from scorer.model import configuration
from tests.support.processes import ROOT
from training import recipe


def imports_of(file: Path) -> set[str]:
    """Absolute names of the modules that a file imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: relative imports are not followed here"
            names |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts): imports_of(file) for file in sorted((ROOT / "training").rglob("*.py"))
}


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {module: imports & set(MODULES) for module, imports in MODULES.items()}
    # Raises CycleError, which names the circle.
    assert set(TopologicalSorter(graph).static_order()) == set(MODULES)


@pytest.mark.parametrize(
    ("room", "allowed"),
    [
        ("training.data", {"training.data"}),
        ("training.evaluation", {"training.data", "training.evaluation", "training.recipe"}),
        ("training.nano", {"training.data", "training.evaluation", "training.losses", "training.nano", "training.recipe"}),
        ("training.adapter", {"training.adapter", "training.data", "training.evaluation", "training.losses", "training.recipe"}),
    ],
)
def test_a_room_imports_only_the_rooms_below_it(room: str, allowed: set[str]) -> None:
    for module, imports in MODULES.items():
        if module.startswith(f"{room}."):
            below = {".".join(name.split(".")[:2]) for name in imports if name.startswith("training.")}
            assert below <= allowed, module


def test_training_never_imports_streams() -> None:
    assert [module for module, imports in MODULES.items() if any(name.split(".")[0] == "streams" for name in imports)] == []


@pytest.mark.parametrize("module", ["training.recipe", "training.run"])
def test_what_is_imported_before_the_pipeline_is_chosen_imports_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_recipe_names_the_streams_of_the_model() -> None:
    assert recipe.STREAMS == configuration.STREAMS
