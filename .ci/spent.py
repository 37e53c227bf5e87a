"""Print the seconds that the tests of a junit file took, by file, longest first.

python .ci/spent.py .venv/tests.xml
"""

import sys
from collections import Counter
from xml.etree import ElementTree

seconds: Counter[str] = Counter()
for case in ElementTree.parse(sys.argv[1]).iter("testcase"):
    seconds[case.get("classname", "").replace(".", "/") + ".py"] += float(case.get("time", 0))
total = sum(seconds.values())
print(f"{total:7.1f} s in {len(seconds)} files of tests, one process's time; the 20 longest:")
for name, spent in seconds.most_common(20):
    print(f"{spent:7.1f} s  {spent / total:4.0%}  {name}")
