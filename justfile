# Every tool comes from the uv environment: `uv run just check` works on a machine that has only uv.

uv := env("UV", "uv")
run := uv + " run"
# Rooms whose tests start no process and no server; all the others are in `uv run pytest`.
units := "tests/config tests/control tests/domain tests/house tests/ledger tests/simulator tests/telemetry"
# Top-level folders that hold Python (git knows the ignored ones).
python := `git ls-files --cached --others --exclude-standard -- '*.py' | cut -d/ -f1 | sort -u | tr '\n' ' '`

[private]
default:
    @{{ uv }} run just --list --unsorted

# The main job on the project's own texts: `just smoke --limit 5`
smoke *arguments:
    {{ run }} python scripts/smoke.py {{ arguments }}

# The README's test command
test *arguments:
    {{ run }} pytest {{ arguments }}

# What has to hold before a commit: format, lint, types, import contracts, doctests, tests of rooms that start nothing
check: lint typecheck
    {{ run }} pytest -q --doctest-modules --doctest-glob='*.md' {{ units }} src scripts docs README.md

# All of `check`, then the slow tests under coverage with thorough properties, the coverage gates, examples and the site
check-all: check coverage examples docs

# Two type checkers, both strict
typecheck:
    {{ run }} ty check {{ python }}
    {{ run }} mypy --strict {{ python }}

# Formatting, ruff's rules and the import contracts
lint:
    {{ run }} ruff format --check
    {{ run }} ruff check
    {{ run }} lint-imports --no-logo

# Run every test under coverage, print the report and state the gates
coverage:
    {{ run }} coverage erase
    {{ run }} pytest -m "slow or not slow" --hypothesis-profile=thorough --cov --cov-report=
    {{ run }} coverage report
    {{ run }} coverage json -q -o .coverage.json
    {{ run }} python scripts/coverage_gates.py .coverage.json

# Look for a seed whose simulated world breaks an invariant: `just simulate-faults --seeds 10000`; see docs/worlds.md
simulate-faults *arguments:
    {{ run }} python -m agent_pipeline.testing.worlds {{ arguments }}

# Measure everything beside others and write docs/performance.md, on a quiet machine: `just bench --small` only tries it
bench *arguments:
    {{ run }} python benchmarks/all_of_it.py {{ arguments }}

# Run every example; each needs neither key nor network
examples:
    #!/usr/bin/env bash
    set -euo pipefail
    shopt -s nullglob
    for example in examples/*.py; do
        echo "== $example"
        env -u OPENAI_API_KEY {{ run }} python "$example"
    done

# Build the documentation site, to be opened as dist/docs/index.html; a broken link or a page nobody finds is an error
docs:
    NO_MKDOCS_2_WARNING=1 {{ run }} mkdocs build --strict --config-file docs/site/mkdocs.yml

# Rewrite what ruff can
format:
    {{ run }} ruff check --fix
    {{ run }} ruff format

# Write the exact versions of the whole tree into pyproject.toml: `just lock --upgrade` takes the newest
lock *arguments:
    {{ run }} python scripts/lock.py {{ arguments }}
