"""``python -m mcbert``: the same as the console command ``mcbert``."""

import sys

from mcbert.pipeline.cli import main

if __name__ == "__main__":  # worker processes import this module and must not start a pipeline of their own
    sys.exit(main())
