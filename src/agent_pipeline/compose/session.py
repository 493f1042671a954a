"""One process's work on a run, from the first thing that is opened to the manifest."""

import trio

from agent_pipeline.compose.conclusion import conclude, with_losses, write_manifest
from agent_pipeline.compose.nursery import work_through
from agent_pipeline.compose.proof import ShutdownProof, with_proof
from agent_pipeline.compose.runtime import Runtime, open_runtime
from agent_pipeline.compose.tables import with_tables
from agent_pipeline.compose.watch import Watch
from agent_pipeline.compose.work import Work
from agent_pipeline.domain.result import RunResult
from agent_pipeline.errors import LedgerError
from agent_pipeline.pipeline.admission import Stop, Tally


async def run_session(work: Work, watch: Watch, proof: ShutdownProof) -> RunResult:
    """Open everything, work through the documents, close everything.

    On any end, also on error and cancellation, every document has its ending, the run its row, and the directory its
    manifest, before this returns or raises.
    """
    config, options = work.config, work.options
    if config.engine.kind != "local":
        proof.is_spread = True
        proof.overlapped = True  # Ray keeps files and log handlers of its own until the process ends
    tally = Tally()
    results: list[RunResult] = []
    runtime: Runtime | None = None
    begun = trio.current_time()
    try:
        # Cancelled while it opens, a run would have a directory, and neither an end nor a manifest.
        with trio.CancelScope(shield=True) as opening:
            async with open_runtime(config, work.stages, options, work.provider, watch) as runtime:
                opening.shield = False
                try:
                    work.on_open(runtime)
                    await work_through(runtime, work, tally)
                except BaseException as exc:
                    _stop_for(runtime.stop, exc)
                    raise
                finally:
                    proof.note_work()
                    watch.closing()
                    try:
                        with trio.CancelScope(shield=True):
                            duration = trio.current_time() - begun
                            results.append(await conclude(runtime, work, tally, duration))
                    except LedgerError as exc:  # raised below, outside the nursery that would wrap it
                        runtime.stop.request_for(exc)
                        runtime.stop.error = runtime.stop.error or exc
    finally:
        watch.closed()
        if runtime is not None:
            resources = proof.conclude(runtime)
            results = [with_losses(result, runtime.records.telemetry.statistics()) for result in results]
            results = [with_proof(result, resources, strict=options.strict_shutdown) for result in results]
            ledger = runtime.records.directory.ledger
            try:
                results = [with_tables(result, config.results, ledger) for result in results]
            finally:  # a library that writes tables may fail in any way; the run has its manifest all the same
                write_manifest(runtime, config, options, resources, *results)
    if runtime is not None and runtime.stop.error is not None and (tally.taken == 0 or not results):
        raise runtime.stop.error
    return results[0]


def _stop_for(stop: Stop, exc: BaseException) -> None:
    """Say why the run breaks off, for its last row and its last line."""
    # Nurseries wrap what they raise; a bug among the cancellations makes it a bug.
    rest = exc.split(trio.Cancelled)[1] if isinstance(exc, BaseExceptionGroup) else exc
    if rest is None or isinstance(rest, trio.Cancelled):
        stop.request("cancelled", "the program around the run cancelled it", cancel=False)
    else:
        stop.request("internal_error", f"{type(rest).__name__} in the run itself", cancel=False)
