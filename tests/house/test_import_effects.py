"""Importing the package costs little and does nothing."""

import json
import subprocess
import sys
from pathlib import Path

PROBE = """
import json, os, sys, threading

opened = []
written = []

def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        path, flags = os.fsdecode(arguments[0]), arguments[2]
        opened.append(os.path.basename(path))
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and "__pycache__" not in path:
            written.append(path)
    elif event in {"os.mkdir", "os.rename", "os.remove", "socket.connect", "subprocess.Popen"}:
        written.append(f"{event} {arguments}")

sys.addaudithook(watch)
import agent_pipeline

print(json.dumps({
    "modules": sorted(sys.modules),
    "opened": opened,
    "written": written,
    "threads": [thread.name for thread in threading.enumerate()],
    "canary": os.environ.get("CANARY"),
    "cwd": os.listdir(),
}))
"""


def test_importing_the_package_has_no_effects(tmp_path: Path) -> None:
    """`--help` has to be fast, and a program that merely imports us must find its process as it was."""
    (tmp_path / ".env").write_text("CANARY=read\n", encoding="utf-8")

    run = subprocess.run([sys.executable, "-B", "-c", PROBE], cwd=tmp_path, capture_output=True, text=True, check=True)

    seen = json.loads(run.stdout)
    assert not {"agents", "asyncio", "openai", "trio_asyncio"} & set(seen["modules"])
    assert seen["written"] == []
    assert ".env" not in seen["opened"]
    assert seen["canary"] is None
    assert seen["threads"] == ["MainThread"]
    assert seen["cwd"] == [".env"]
    assert run.stderr == ""


def test_the_probe_sees_effects(tmp_path: Path) -> None:
    """Without this, a probe that looks in the wrong place would find every import innocent."""
    guilty = tmp_path / "agent_pipeline.py"
    guilty.write_text(
        "import os, threading\n"
        "open('.env').read()\n"
        "open('left.txt', 'w').close()\n"
        "os.environ['CANARY'] = 'read'\n"
        "threading.Thread(target=threading.Event().wait, args=(5,), daemon=True, name='left').start()\n",
        encoding="utf-8",
    )
    (tmp_path / ".env").write_text("", encoding="utf-8")

    run = subprocess.run([sys.executable, "-B", "-c", PROBE], cwd=tmp_path, capture_output=True, text=True, check=True)

    seen = json.loads(run.stdout)
    assert ".env" in seen["opened"]
    assert seen["written"] == ["left.txt"]
    assert seen["threads"] == ["MainThread", "left"]
    assert seen["canary"] == "read"
