"""`python -m wbczoo` is `wbczoo`."""

import sys

from wbczoo.cli import run

if __name__ == "__main__":
    sys.exit(run())
