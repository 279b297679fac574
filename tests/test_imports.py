"""Imports point one way only: every module imports from its own layer or from one below."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "echoflow"
LAYERS = (  # top to bottom
    {"cli", "studio", "__main__"},
    {"quickstart", "pages", "floors", "reproduce"},
    {"synthesis", "evaluation", "truth", "distances", "looks"}
    | {"pairs", "variety", "latent_entropy", "beats", "freeecho", "reader_study"}
    | {"draws", "drawn", "rulers"},
    {"pipeline", "cascade", "cascade_files", "cascade_weights", "beating"},
    {"privacy", "judges", "encoders", "interop", "training"},
    {"networks", "latents", "data"},
    {"process", "fields", "sampling", "lowres", "condition", "calibration", "metrics"},
    {"types", "files"},
)
LEVEL = {name: len(LAYERS) - i for i, names in enumerate(LAYERS) for name in names}
HEAVY = {"torch", "torchvision", "diffusers", "accelerate", "av", "matplotlib", "pandas", "scipy"}
FILES = sorted(SOURCE.rglob("*.py"))


def part(path: Path) -> str:
    """The first name below `echoflow` that a file belongs to: `networks`, `process`, ..."""
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node of a file, functions included, except what only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from statements(node)


def imported(path: Path) -> set[str]:
    """First names below `echoflow` that a file imports."""
    names = set()
    for node in statements(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            names |= {f"{module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    parts = {name.split(".")[1] for name in names if name.startswith("echoflow.")}
    return {name for name in parts if not name.startswith("__")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    if part(path) == "__init__":  # the public API names the top of the house, lazily
        return
    assert part(path) in LEVEL, f"give {part(path)!r} a layer in this test and in the README"
    above = {name for name in imported(path) if LEVEL[name] > LEVEL[part(path)]}
    assert not above, f"{part(path)} must not import {sorted(above)}"


def test_command_line_starts_without_heavy_packages() -> None:
    code = f"import sys, echoflow.cli; print(sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
