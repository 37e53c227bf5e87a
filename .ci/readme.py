"""Run the Python blocks of the README, in order, in one namespace, against the demo's results."""

import json
import re
import textwrap
from pathlib import Path

import numpy as np

run = Path("results/runs/demo")
folder = Path("cache") / json.loads((run / "cache.json").read_text())["digest"]
namespace = {"folder": folder, "train": np.arange(10)}
blocks = re.findall(r"(?:^    .*\n)+", Path("README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
python = [textwrap.dedent(b) for b in blocks if re.match(r"    (import|from) ", b)]
for block in python:
    print(block)
    exec(compile(block, "README.md", "exec"), namespace)
assert namespace["X"].shape[0] == 10
answer = namespace["classify"]("Wo bleibt mein Paket?")[0]
print(answer)
assert answer["label"] in {"cancel_order", "delivery_problem", "refund_status", "talk_to_person"}
assert len(python) == 3, f"{len(python)} Python blocks in the README, 3 expected"
