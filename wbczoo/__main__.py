"""`python -m wbczoo` is `wbczoo`."""

import sys

from wbczoo.cli import main

if __name__ == "__main__":
    sys.exit(main())
