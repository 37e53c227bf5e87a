"""Run the Python block of the README against the demo's results."""

import re
from pathlib import Path

(block,) = re.findall(
    r"^```python\n(.*?)^```", Path("README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
)
print(block)
namespace = {}
exec(compile(block, "README.md", "exec"), namespace)
found = namespace["search"].results_
assert len(found) == 8 * 3 * 5 + 1, f"{len(found)} rows of single layers and the mean of them"
