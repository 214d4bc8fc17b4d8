"""`python -m data_prep`: list, fetch, run, status, finalize, report."""

import sys

from data_prep.cli import main

if __name__ == "__main__":
    sys.exit(main())
