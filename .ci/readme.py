"""Run the Python blocks of the README, in order, in one namespace, against the demo's results."""

import re
import textwrap
from pathlib import Path

namespace = {}
blocks = re.findall(r"(?:^    .*\n)+", Path("README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
python = [textwrap.dedent(b) for b in blocks if re.match(r"    (import|from) ", b)]
assert len(python) == 1, f"{len(python)} Python blocks in the README, 1 expected"
for block in python:
    print(block)
    exec(compile(block, "README.md", "exec"), namespace)
assert len(namespace["grid"]) == 3825, f"{len(namespace['grid'])} candidates in the demo's gridsearch.csv"
