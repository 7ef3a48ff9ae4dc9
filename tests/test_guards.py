"""The house keeps its shape: imports go downstairs, importing is light, names are what they say, files stay small."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import lossmith

ROOT = Path(lossmith.__file__).parent
# data and the frameworks are neighbours: none needs another.
MAY_IMPORT = {
    "errors": set(),
    "core": {"errors"},
    "torch": {"errors", "core"},
    "numpy": {"errors", "core"},
    "jax": {"errors", "core"},
    "keras": {"errors", "core", "torch"},  # torch where Keras runs on it
    "check": {"errors", "core", "torch"},
    "data": {"errors", "core"},
    "lab": {"errors", "core", "torch", "data"},
    "show": {"errors", "core"},
    "cli": {"errors", "core", "torch", "check", "data", "lab", "show"},
    "__main__": {"cli"},
}
FRAMEWORKS = ["torch", "jax", "keras", "tensorflow", "kornia", "lightning_fabric", "matplotlib", "pyarrow", "sklearn"]
SOURCES = sorted(ROOT.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def rooms_imported(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [
                f"{node.module}.{alias.name}" if node.module == "lossmith" else str(node.module) for alias in node.names
            ]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("lossmith.") and "__" not in name}
    return found


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name != "__init__.py" or p.parent != ROOT], ids=str)
def test_imports_go_downstairs(path):
    own = room(path)
    assert rooms_imported(path.read_text()) <= MAY_IMPORT[own] | {own}


def test_an_import_upstairs_would_be_seen():
    assert rooms_imported("def f():\n    from lossmith.lab.plan import Plan") == {"lab"}
    assert rooms_imported("from lossmith import show") == {"show"}


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(*[name for name in {FRAMEWORKS} if name in sys.modules])"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "lossmith",
        "lossmith.core.catalogue",
        "lossmith.core.spec",
        "lossmith.numpy",
        "lossmith.cli",
        "lossmith.data",
        "lossmith.lab",
    ],
)
def test_importing_loads_no_framework(module):
    assert loaded_by(f"import {module}") == set()


def test_importing_the_losses_loads_torch_alone():
    assert loaded_by("import lossmith.torch") == {"torch"}


def test_a_heavy_import_would_be_seen():
    assert loaded_by("import matplotlib") == {"matplotlib"}


@pytest.mark.parametrize(
    "name", ["lossmith", "lossmith.torch", "lossmith.numpy", "lossmith.check", "lossmith.data", "lossmith.lab"]
)
def test_all_is_what_is_defined(name):
    module = importlib.import_module(name)
    public = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and getattr(value, "__module__", "").startswith("lossmith")
    }
    assert sorted(module.__all__) == module.__all__ or name == "lossmith"
    assert set(module.__all__) - {"__version__"} == public


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_files_stay_small(path):
    code = ast.parse(path.read_text())
    documented = sum(
        node.body[0].end_lineno - node.body[0].lineno + 1
        for node in ast.walk(code)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node)
    )
    lines = len(path.read_text().splitlines()) - documented
    assert lines <= 260


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_functions_stay_small(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            documented = node.body[0].end_lineno - node.body[0].lineno + 1 if ast.get_docstring(node) else 0
            length = node.end_lineno - node.lineno + 1 - documented
            assert length <= 55, f"{node.name} has {length} lines"


@pytest.mark.parametrize(
    "name", ["lossmith.torch", "lossmith.numpy", "lossmith.check", "lossmith.data", "lossmith.lab"]
)
def test_every_public_name_is_in_the_docs(name):
    pages = "".join(page.read_text() for page in (ROOT.parents[1] / "docs").glob("*.md"))
    assert [public for public in importlib.import_module(name).__all__ if f"`{public}`" not in pages] == []


def test_the_page_of_losses_is_the_catalogue():
    from lossmith import show

    assert (ROOT.parents[1] / "docs" / "losses.md").read_text() == show.markdown()


def test_the_version_is_the_installed_one():
    from importlib.metadata import version

    assert version("lossmith") == lossmith.__version__
