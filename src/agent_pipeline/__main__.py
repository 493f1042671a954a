"""`python -m agent_pipeline`: the command under another name."""

import sys

from agent_pipeline.cli import main

if __name__ == "__main__":
    sys.exit(main())
