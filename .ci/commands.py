"""Print what the pages tell to type, page by page: ```bash blocks, and ```python blocks as scripts.

python .ci/commands.py | bash -euo pipefail
python .ci/commands.py docs/search.md | bash -euo pipefail
python .ci/commands.py --but docs/search.md | bash -euo pipefail
"""

import re
import sys
from pathlib import Path

# what runs their blocks, processes on several ports, is tests/pipeline/cluster/test_cluster_doc.py and
# tests/finetune/test_distributed.py
TESTED = ("docs/cluster.md", "docs/freezing.md")
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)

names = sys.argv[1:]
but = set(names[1:]) if names[:1] == ["--but"] else set()
given = [] if but else [Path(name) for name in names]
every = sorted(path for path in Path("docs").rglob("*.md") if str(path) not in {*TESTED, *but})
for page in given or every:
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    if given and not blocks:
        sys.exit(f"{page}: no block")
    scripts = [text if kind == "bash" else f"python - <<'PYTHON'\n{text}PYTHON\n" for kind, text in blocks]
    if scripts:  # a page in a subshell: what it changes to and exports ends with it
        sys.stdout.write(f'printf "\\n-- %s (%d s so far)\\n" {page} "$SECONDS"\n(\n{"".join(scripts)})\n')
