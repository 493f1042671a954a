"""What needs a cluster, in a network of its own."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

NAMESPACE = ("unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
INSIDE = Path(__file__).with_name("inside")


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Ray's sockets have paths in it, which may have a hundred characters; its token is written there too."""
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("file", sorted(path.name for path in INSIDE.glob("cluster_*.py")))
def test_in_a_network_of_its_own(file: str, short_folder: Path) -> None:
    """Ray listens on every address it finds, so that it is given none but loopback."""
    if subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system gives nobody a network namespace")

    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-m", "ray"]
    environment = {**os.environ, "HOME": str(short_folder), "RAY_TMPDIR": str(short_folder)}
    done = subprocess.run(
        [*NAMESPACE, *command, "--timeout", "600", "-o", "python_files=cluster_*.py", str(INSIDE / file)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, f"{done.stdout[-20_000:]}\n{done.stderr[-5000:]}"
    if "skipped" in (closing := done.stdout.splitlines()[-1]):
        pytest.skip(closing)
