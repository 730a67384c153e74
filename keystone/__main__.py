"""`python -m keystone`."""

import sys

from keystone.cli import main

if __name__ == "__main__":
    sys.exit(main())
