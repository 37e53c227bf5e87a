"""Print the commands of a page: its ```bash blocks, one after the other.

python .ci/commands.py docs/search.md | bash -euo pipefail
"""

import re
import sys
from pathlib import Path

blocks = re.findall(r"```bash\n(.*?)```", Path(sys.argv[1]).read_text(encoding="utf-8"), flags=re.S)
if not blocks:
    sys.exit(f"{sys.argv[1]}: no bash block")
sys.stdout.write("\n".join(blocks))
