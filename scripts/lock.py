"""Write the exact versions of the whole dependency tree into `[tool.uv]` of pyproject.toml (`just lock`).

`uv.lock` records download addresses, so it is not committed. What counts of it, one exact version per package, is kept
as constraints instead: every `uv run` of a fresh clone resolves to the same tree. Pins that still fit are kept;
`--upgrade` takes the newest versions that the ranges allow.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = os.environ.get("UV", "uv")
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)(?:\s*;\s*(?P<marker>.+))?$")
RUNTIME_KEY = "constraint-dependencies"
BUILD_KEY = "build-constraint-dependencies"


def uv(*arguments: str, directory: Path, given: str = "") -> str:
    """Run uv in a directory and return its standard output; its own messages go to our standard error."""
    # The environment this script runs in is not the one that is resolved for.
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    run = subprocess.run(
        [UV, *arguments], cwd=directory, env=environment, input=given, stdout=subprocess.PIPE, text=True, check=True
    )
    return run.stdout


def pins(exported: str) -> list[str]:
    r"""Turn an export into sorted constraints.

    A marker says where a package is installed, which a constraint need not repeat. It is kept only where one name has
    several versions, each for its own environments.

    >>> pins("trio==0.35.0\ncffi==2.1 ; os_name == 'nt'\n")
    ['cffi==2.1', 'trio==0.35.0']
    >>> pins("a==1 ; python_full_version < '3.12'\na==2 ; python_full_version >= '3.12'\n")
    ["a==1 ; python_full_version < '3.12'", "a==2 ; python_full_version >= '3.12'"]

    Raises:
        ValueError: a line is not an exact version (an address, a path), so that it can't be a constraint.
    """
    found: list[tuple[str, str, str | None]] = []
    for line in filter(None, map(str.strip, exported.splitlines())):
        match = PIN.match(line)
        if match is None:
            raise ValueError(f"not an exact version: {line}")
        found.append((match["name"].lower(), match["version"], match["marker"]))
    versions = Counter(name for name, _, _ in found)
    return [
        f"{name}=={version} ; {marker}" if marker and versions[name] > 1 else f"{name}=={version}"
        for name, version, marker in sorted(found, key=lambda pin: (pin[0], pin[1], pin[2] or ""))
    ]


def with_constraints(project: str, key: str, constraints: Iterable[str]) -> str:
    r"""Return the text of pyproject.toml with the array `key` replaced.

    >>> print(with_constraints("[tool.uv]\nkey = []\n", "key", ["a==1"]))
    [tool.uv]
    key = [
        "a==1",
    ]
    """
    rows = "".join(f'    "{constraint}",\n' for constraint in constraints)
    array = f"{key} = [\n{rows}]\n" if rows else f"{key} = []\n"
    pattern = re.compile(rf"^{re.escape(key)} = \[[^\]]*\]\n", re.MULTILINE)
    changed, count = pattern.subn(lambda _: array, project)
    if count != 1:
        raise ValueError(f"pyproject.toml has {count} arrays `{key}`, not one")
    return changed


def runtime_pins(project: str) -> list[str]:
    """Resolve everything the project and its dev group need, for every supported Python and platform."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory)
        (copy / "pyproject.toml").write_text(project, encoding="utf-8")
        uv("lock", "--quiet", directory=copy)
        kinds = ("--all-groups", "--all-extras", "--no-emit-project")
        plain = ("--no-hashes", "--no-header", "--no-annotate")
        return pins(uv("export", "--quiet", "--frozen", *kinds, *plain, directory=copy))


def build_pins(project: str) -> list[str]:
    """Resolve what builds the project."""
    settings = tomllib.loads(project)
    kept = settings["tool"]["uv"][BUILD_KEY]
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory)
        (copy / "kept.txt").write_text("".join(f"{pin}\n" for pin in kept), encoding="utf-8")
        options = ("--quiet", "--universal", "--python-version", "3.11", "--no-header", "--no-annotate")
        wanted = "\n".join(settings["build-system"]["requires"])
        return pins(uv("pip", "compile", *options, "--constraints", "kept.txt", "-", directory=copy, given=wanted))


def lock(project: str, *, upgrade: bool) -> str:
    """Return the text of pyproject.toml with both arrays up to date."""
    free = with_constraints(with_constraints(project, RUNTIME_KEY, []), BUILD_KEY, [])
    start = free if upgrade else project
    try:
        runtime, build = runtime_pins(start), build_pins(start)
    except subprocess.CalledProcessError:
        if upgrade:
            raise
        print("the present versions no longer fit the ranges: resolving afresh", file=sys.stderr)
        runtime, build = runtime_pins(free), build_pins(free)
    return with_constraints(with_constraints(project, RUNTIME_KEY, runtime), BUILD_KEY, build)


def main() -> int:
    """Write pyproject.toml, or with `--check` only tell whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions the ranges allow")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the versions are not up to date")
    options = parser.parse_args()

    path = ROOT / "pyproject.toml"
    before = path.read_text(encoding="utf-8")
    after = lock(before, upgrade=options.upgrade)
    if options.check:
        print("up to date" if after == before else "not up to date: run `just lock`")
        return int(after != before)
    path.write_text(after, encoding="utf-8")
    count = len(tomllib.loads(after)["tool"]["uv"][RUNTIME_KEY])
    print(f"{count} versions, {'unchanged' if after == before else 'written'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
