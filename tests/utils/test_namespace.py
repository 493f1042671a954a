"""The names of `agent_pipeline.utils` are found where they are documented, and cost nothing before they are used."""

import subprocess
import sys

import agent_pipeline.utils


def test_dir_shows_the_exports() -> None:
    assert dir(agent_pipeline.utils) == sorted(agent_pipeline.utils.__all__)
    assert "RuntimeConfig" in dir(agent_pipeline.utils)


def test_importing_it_is_cheap() -> None:
    """And using a config needs neither the OpenAI client nor the SDK."""
    probe = (
        "import sys, agent_pipeline.utils as utils; light = set(sys.modules); utils.RuntimeConfig;"
        "heavy = {'openai', 'agents', 'trio_asyncio', 'httpx2'};"
        "print(sorted(({'trio', 'asyncio', *heavy} & light) | (heavy & set(sys.modules))))"
    )

    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)

    assert run.stdout == "[]\n"
