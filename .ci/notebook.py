"""Run the code cells of a notebook, in order, in one namespace, as a kernel does; no kernel is needed.

python .ci/notebook.py docs/tutorial.ipynb
"""

import ast
import json
import sys
import time
from pathlib import Path


def run(source: str, name: str, namespace: dict[str, object]) -> None:
    """Run a cell and print what its last expression is."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), namespace)
    if last is not None:
        print(eval(compile(ast.Expression(last.value), name, "eval"), namespace))


if __name__ == "__main__":  # the search's worker processes import this module
    for path in map(Path, sys.argv[1:]):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        began, names = time.monotonic(), {"__name__": "__main__"}
        for number, cell in enumerate(cells, start=1):
            if cell["cell_type"] == "code":
                print(f"-- {path}, cell {number} ({time.monotonic() - began:.0f} s so far)")
                run("".join(cell["source"]), f"{path}, cell {number}", names)
        print(f"-- {path}: done in {time.monotonic() - began:.0f} s")
