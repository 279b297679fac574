"""The README's tree names every source file, and none that is gone."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "echoflow"


def test_tree_lists_every_file() -> None:
    tree = (ROOT / "README.md").read_text().partition("src/echoflow/\n")[2].partition("```")[0]
    named = set(re.findall(r"\b[\w]+\.py\b", tree.partition("tests/")[0]))
    files = {path.name for path in SOURCE.rglob("*.py") if not path.name.startswith("__")}
    assert named == files, "mend the tree in README.md"
