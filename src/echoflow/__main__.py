"""`python -m echoflow` is the `echoflow` command."""

import sys

from echoflow.cli import main

if __name__ == "__main__":
    sys.exit(main())
