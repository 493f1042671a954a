"""A cluster of two machines, made as the documentation says, and the network between them cut.

The other machine has a network, processes, a name and folders of Ray of its own. It sees the pipeline's folder, but in
place of logs and artifacts it has nothing. The addresses are some of those set aside for examples (RFC 5737), and the
network they are in leads nowhere.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.engines.on_ray.inside.driver_process import IMPATIENT, RAY, check_each_succeeded_once, provider, start
from tests.engines.on_ray.inside.held_run import let_pass, make_held
from tests.integration.project import ONE_CALL, Project

from agent_pipeline.engines.on_ray.connecting import OBJECT_STORE_BYTES

pytestmark = pytest.mark.ray

HEAD, OTHER = "192.0.2.1", "192.0.2.2"
GCS = f"{HEAD}:6379"
DOCUMENTS = 80

RAY_PROGRAM = str(Path(sys.executable).with_name("ray"))
START = (RAY_PROGRAM, "start", "--block", "--num-cpus=1", f"--object-store-memory={OBJECT_STORE_BYTES}")
APART = ("unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child")
BECOME_THE_OTHER = f"""\
set -e
mount --make-rprivate /
mount -t proc proc /proc
for folder in $EMPTY; do mount -t tmpfs tmpfs "$folder"; done
hostname other
ip link set lo up
echo wire me
read -r _
ip addr add {OTHER}/24 dev other
ip link set other up
"$PYTHON" -m agent_pipeline simulate --port "$PROVIDER_PORT" > /dev/null 2>&1 &
exec "$@" > /dev/null 2>&1
"""

_READY_AT = re.compile(r" WORKER_READY .*?\bhost=(\S+)")
_FINISHED = re.compile(r" DOCUMENT_FINISHED ")
_LOST = re.compile(r' WORKER_LOST .*?\breason="nothing was heard')


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    """A provider on this machine; the other has one of its own at the same address."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-nobody")
    with provider(tmp_path, 0.05) as address:
        yield address


@pytest.fixture
def project(tmp_path: Path, url: str) -> Project:
    """A project whose documents wait, with a folder for logs and artifacts that the other machine finds empty."""
    made = make_held(tmp_path / "project", DOCUMENTS, ONE_CALL, base_url=url)
    made.artifacts.parent.mkdir()
    return made


@pytest.fixture
def two_machines(project: Project, url: str, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Start the head here, by its own command, and a node on the other machine."""
    ray_folder = Path(tempfile.mkdtemp(dir=os.environ["HOME"]))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", "0")
    subprocess.run([RAY_PROGRAM, "get-auth-token", "--generate"], check=True, capture_output=True)
    wire = subprocess.run(["ip", "link", "add", "here", "type", "veth", "peer", "name", "other"], check=False)
    room = subprocess.run([*APART, "mount", "-t", "proc", "proc", "/proc"], check=False)
    if wire.returncode or room.returncode:
        pytest.skip("this system has no wire, or no room, for a second machine")
    subprocess.run(["ip", "addr", "add", f"{HEAD}/24", "dev", "here"], check=True)
    _switch("up")
    head = (*START, "--head", "--port=6379", f"--node-ip-address={HEAD}", f"--temp-dir={ray_folder}")
    node = (*START, f"--address={GCS}", f"--node-ip-address={OTHER}")
    environment = {
        **os.environ,
        "EMPTY": f"{ray_folder} {project.artifacts.parent}",
        "PYTHON": sys.executable,
        "PROVIDER_PORT": url.removesuffix("/v1").rpartition(":")[2],
    }
    with _process(*head), _process(*APART, "sh", "-c", BECOME_THE_OTHER, "sh", *node, environment=environment) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "wire me\n"
        subprocess.run(["ip", "link", "set", "other", "netns", str(other.pid)], check=True)
        other.stdin.write("\n")
        other.stdin.flush()
        yield
        subprocess.run(["ip", "link", "del", "here"], check=True)
        other.kill()  # `unshare` waits for its child whatever else it is sent, and takes it along


@contextmanager
def _process(*command: str, environment: dict[str, str] | None = None) -> Generator["subprocess.Popen[str]"]:
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=environment)
    with process:
        try:
            yield process
        finally:
            process.terminate()


def _switch(state: str) -> None:
    subprocess.run(["ip", "link", "set", "here", state], check=True)


@pytest.mark.usefixtures("two_machines")
def test_workers_on_two_machines_need_no_folder_of_the_run(project: Project) -> None:
    """What they have done is on the driver's machine, and who did it is told."""
    run = start(project, *RAY, "--ray-address", GCS)
    run.worker(2)
    hosts = {found[1] for found in _READY_AT.finditer(run.said)}
    let_pass(project, DOCUMENTS)
    result = run.result()

    assert result["exit_code"] == 0
    assert len(hosts) == 2
    assert "other" in hosts
    check_each_succeeded_once(project, DOCUMENTS)


@pytest.mark.usefixtures("two_machines")
def test_a_machine_that_is_cut_off_loses_nothing(project: Project) -> None:
    """It goes on there, unheard, until it misses the driver; what it had is done here."""
    run = start(project, *RAY, "--ray-address", GCS, program=("-c", IMPATIENT.format(more="")))
    run.worker(2)
    let_pass(project, DOCUMENTS // 2)
    run.heard(_FINISHED, DOCUMENTS // 4)
    _switch("down")
    run.heard(_LOST)
    let_pass(project, DOCUMENTS)
    result = run.result()

    assert result["exit_code"] == 0
    check_each_succeeded_once(project, DOCUMENTS)
