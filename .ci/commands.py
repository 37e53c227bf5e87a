"""Print what the pages tell to type: their ```bash blocks, and their ```python blocks as scripts, page by page.

python .ci/commands.py | bash -euo pipefail
python .ci/commands.py docs/search.md | bash -euo pipefail
"""

import re
import sys
from pathlib import Path

TESTED = ("cluster", "freezing")  # by tests/pipeline/test_cluster_doc.py, tests/pipeline/test_ranks.py
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)

given = [Path(name) for name in sys.argv[1:]]
for page in given or sorted(path for path in Path("docs").glob("*.md") if path.stem not in TESTED):
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    if given and not blocks:
        sys.exit(f"{page}: no block")
    scripts = [text if kind == "bash" else f"python - <<'PYTHON'\n{text}PYTHON\n" for kind, text in blocks]
    if scripts:  # a page in a subshell: what it changes to and exports ends with it
        sys.stdout.write(f'printf "\\n-- %s (%d s so far)\\n" {page} "$SECONDS"\n(\n{"".join(scripts)})\n')
