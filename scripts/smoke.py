"""The main job on the project's own texts: `uv run python scripts/smoke.py --limit 5`."""

import sys
from pathlib import Path

from agent_pipeline.cli.smoke import smoke

CONFIG = Path(__file__).resolve().parent.parent / "configs" / "smoke.yaml"

if __name__ == "__main__":
    sys.exit(smoke(default_config=CONFIG))
