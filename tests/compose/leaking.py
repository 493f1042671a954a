"""A stage that forgets to close what it opens."""

import logging
import os
import threading

from agent_pipeline import Document, StageContext, stage

LOGGER = "tests.leaking"

files: list[int] = []
threads: list[tuple[threading.Thread, threading.Event]] = []


@stage
async def leak(document: Document, context: StageContext) -> Document:
    """Open one of each, and keep it."""
    files.append(os.open(os.devnull, os.O_RDONLY))
    never = threading.Event()
    threads.append((threading.Thread(target=never.wait, name="forgotten", daemon=True), never))
    threads[-1][0].start()
    logging.getLogger(LOGGER).addHandler(logging.NullHandler())
    return document


def clean_up() -> None:
    """Close it all."""
    for number in files:
        os.close(number)
    files.clear()
    for thread, never in threads:
        never.set()
        thread.join()
    threads.clear()
    logging.getLogger(LOGGER).handlers.clear()
