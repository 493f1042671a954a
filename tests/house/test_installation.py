"""The wheel, installed without extras into an empty environment, has every promised name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.house.test_contract_names import PROMISED

ROOT = Path(__file__).parents[2]
UV = os.environ.get("UV", "uv")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wheel_without_extras_has_all_names_and_the_command(tmp_path: Path) -> None:
    """Packages come from the index, as for any user."""

    def uv(*arguments: str) -> None:
        done = subprocess.run([UV, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    uv("build", "--wheel", "--quiet", "--out-dir", str(tmp_path / "dist"), str(ROOT))
    uv("venv", "--quiet", "--python", sys.executable, str(tmp_path / "venv"))
    python = tmp_path / "venv" / "bin" / "python"
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    uv("pip", "install", "--quiet", "--python", str(python), str(wheel))

    code = "".join(f"from {module} import {', '.join(names.split())}\n" for module, names in PROMISED.items())
    code += (
        "import importlib.util\n"
        "print([name for name in ('any_llm', 'pydantic_ai') if importlib.util.find_spec(name)])\n"
    )
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    helped = subprocess.run(
        [tmp_path / "venv" / "bin" / "agent-pipeline", "--help"], cwd=tmp_path, capture_output=True, check=False
    )
    assert helped.returncode == 0
