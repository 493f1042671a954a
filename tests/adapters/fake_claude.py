"""A double of the `claude` command, run as a real process: FAKE_CLAUDE says what it does, a JSON object.

Keys: `prints` (changes of the result object), `raw` (printed instead), `exit`, `stderr`, `hang`, `ignore_sigterm`,
`unread` (does not read its input), `child` (starts one that hangs, and writes both pids there), `flood` (bytes),
`fails` (so many runs print `failing` first, counted in the file `count`), `log` (file that gets argv, prompt and
environment).
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

RESULT = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "duration_ms": 12,
    "num_turns": 1,
    "result": "done",
    "session_id": "s",
    "total_cost_usd": 0.001234,
    "usage": {
        "input_tokens": 4,
        "cache_creation_input_tokens": 3,
        "cache_read_input_tokens": 10,
        "output_tokens": 5,
        "service_tier": "standard",
    },
    "modelUsage": {"fake-model": {"inputTokens": 4}},
    "permission_denials": [],
}


def main() -> None:
    """Do as told."""
    orders = json.loads(os.environ.get("FAKE_CLAUDE", "{}"))
    if orders.get("ignore_sigterm"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    prompt = "" if orders.get("unread") else sys.stdin.read()
    if "log" in orders:
        line = json.dumps({"argv": sys.argv[1:], "prompt": prompt, "environment": dict(os.environ)})
        with Path(orders["log"]).open("a", encoding="utf-8") as log:
            log.write(line + "\n")
    if "child" in orders:
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
        child = subprocess.Popen([sys.executable, "-c", code])  # it holds the pipes, too
        path = Path(orders["child"])
        path.with_suffix(".new").write_text(f"{os.getpid()} {child.pid}", encoding="utf-8")
        path.with_suffix(".new").rename(path)
    if orders.get("hang"):
        time.sleep(60)
    if "flood" in orders:
        for _ in range(orders["flood"] // 65536):
            sys.stdout.write("x" * 65536)
    sys.stderr.write(orders.get("stderr", ""))
    changes = dict(orders.get("prints", {}))
    if "fails" in orders:
        count = Path(orders["count"])
        seen = int(count.read_text(encoding="utf-8")) if count.exists() else 0
        count.write_text(str(seen + 1), encoding="utf-8")
        if seen < orders["fails"]:
            changes |= orders["failing"]
    result = {**RESULT, **changes}
    sys.stdout.write(orders.get("raw", json.dumps(result)))
    sys.stdout.flush()
    sys.exit(orders.get("exit", 0))


if __name__ == "__main__":
    main()
