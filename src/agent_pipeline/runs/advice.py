"""What an error code means to who sees it for the first time, and what to do: one table for commands and reports."""

from dataclasses import dataclass

RETRY_FAILED = "agent-pipeline resume {run} --retry-failed"
RESUME = "agent-pipeline resume {run}"
CHECK = "agent-pipeline check {config}"
DOCTOR = "agent-pipeline doctor {config}"
ATTEMPTS = "agent-pipeline trace --http {run} {doc}"
MORE_TOKENS = f"{RESUME} --budget-tokens MORE"


@dataclass(frozen=True, slots=True)
class Advice:
    """What is behind a code, and the way on.

    Attributes:
        meaning: a sentence without its full stop.
        todo: likewise.
        commands: to be typed, with `{run}`, `{doc}`, `{stage}` and `{config}` to be filled in.
    """

    meaning: str
    todo: str
    commands: tuple[str, ...] = (RETRY_FAILED,)


_WAIT = "wait until the provider is well again, then work on what failed"
_KEY = "put the right key into the variable that the roles file names, then go on"
_BUG = Advice(
    "something went wrong that has no name of its own",
    "read the error; if it is not from your own code, it is a bug of agent-pipeline",
    (RETRY_FAILED,),
)

ADVICE: dict[str, Advice] = {
    # the provider could not be reached, or broke off
    "provider_unreachable": Advice(
        "no connection to the provider could be made",
        "check the address (`base_url`) and the network, then work on what failed",
        (DOCTOR, RETRY_FAILED),
    ),
    "certificate_rejected": Advice(
        "the provider's certificate is not trusted",
        "check the address, and the clock and the certificates of this machine",
        (DOCTOR, RESUME),
    ),
    "connection_lost": Advice("the provider closed the connection before its answer was whole", _WAIT),
    "attempt_timeout": Advice(
        "the provider took longer than one attempt may",
        "raise limits.timeouts.attempt or .read, or take a faster model, then work on what failed",
        (ATTEMPTS, RETRY_FAILED),
    ),
    "server_error": Advice(
        "the provider reported an error of its own, in every attempt", _WAIT, (ATTEMPTS, RETRY_FAILED)
    ),
    "provider_down": Advice("the provider failed for all documents, and for every probe", _WAIT, (RESUME,)),
    "provider_error": Advice(
        "the provider failed in a way that has no name of its own", _WAIT, (ATTEMPTS, RETRY_FAILED)
    ),
    "rate_limited": Advice(
        "the provider answered 429 more often than a call puts up with",
        "lower requests_per_minute or requests_in_flight.max below what the account allows, then work on what failed",
    ),
    "wait_beyond_deadline": Advice(
        "the provider asked for a pause that would outlast the document's time",
        "wait as long as it asked for, or raise the timeout that the error names",
    ),
    # the provider refuses
    "request_rejected": Advice(
        "the provider refused this request, and would refuse it again as it is",
        "change what the provider names: text, params, after a 404 base_url (or `api: chat` where it has no Responses)",
        (ATTEMPTS, RETRY_FAILED),
    ),
    "credentials_rejected": Advice("the provider refused the key", _KEY, (DOCTOR, RESUME)),
    "credentials_missing": Advice("the key is not set", _KEY, (DOCTOR, RESUME)),
    "quota_exhausted": Advice("the account has nothing left to spend", "top the account up, then go on", (RESUME,)),
    "model_not_found": Advice(
        "the provider does not know the role's model",
        "correct the model in the roles file, or give another with --role ROLE=MODEL",
        ("agent-pipeline roles list {config}", RESUME),
    ),
    "poisoned": Advice(
        "this document failed again and again, or lost its workers, while others passed, so it was given up",
        "look for what is special about this document, change it or leave it out",
    ),
    # the answer is no use
    "bad_answer": Advice(
        "what came back was no answer: HTML, broken JSON, or nothing",
        "check base_url and what stands between here and the provider (a proxy?)",
        (DOCTOR, RETRY_FAILED),
    ),
    "stream_truncated": Advice("a streamed answer ended before its end", _WAIT),
    "stream_broken": Advice("a streamed answer broke off after its reader had a part of it", _WAIT),
    "answer_too_large": Advice("the answer was larger than 16 MiB", "ask for less, or lower params.max_tokens"),
    "incomplete_answer": Advice(
        "the model was cut off by the output cap, filtered, or refused",
        "raise params.max_tokens of the role, lower its reasoning effort, or give it a fallback",
        ("agent-pipeline roles list {config}", RETRY_FAILED),
    ),
    "output_invalid": Advice(
        "the model's answer does not fit the output type of the stage",
        "make the type simpler or the instructions clearer, or take a stronger model, then work on what failed",
    ),
    # the document, its stages, its limits
    "rejected": Advice(
        "the reviewer never approved the document",
        "read its last text and what the reviewer said; change the instructions, or allow more reworks (max_reworks)",
    ),
    "stage_failed": Advice(
        "the stage's own code raised an error",
        "mend the stage at the place that the error names; stages that are done are not paid for again",
    ),
    "agent_failed": Advice(
        "the agent used up its turns, broke a guardrail, or one of its tools failed",
        "read the error; mend the tool, or change the instructions, then work on what failed",
        ("agent-pipeline trace {run} {doc}", RETRY_FAILED),
    ),
    "document_invalid": Advice(
        "this entry of the source can't be used",
        "mend the entry where the error says, then work on what failed",
    ),
    "document_budget_exceeded": Advice(
        "the next request did not fit into this document's own budget",
        "raise limits.budget_per_document, or lower params.max_tokens of the role",
    ),
    "replay_miss": Advice(
        "the recording holds no answer to this request",
        "undo what changed since it was made, or record the run again",
    ),
    "deadline_exceeded": Advice(
        "the document's time ran out",
        "raise the timeout that the error names (limits.timeouts), or let fewer documents wait for each other",
        ("agent-pipeline trace {run} {doc}", RETRY_FAILED),
    ),
    "artifact_not_written": Advice(
        "the document is done, but its artifact could not be written",
        "make room, or mend the permissions of the artifacts folder; the stages are not paid for again",
    ),
    # the run
    "budget_exceeded": Advice(
        "the budget of the run, or of the role, had no room for the next request",
        "give it more and go on; what is finished is kept",
        (MORE_TOKENS,),
    ),
    "interrupted": Advice(
        "the process was killed, or left at once, while it worked on this document",
        "go on with the run; stages that are done are not paid for again",
        (RESUME,),
    ),
    "disk_full": Advice("the disk is full", "make room, then go on", (DOCTOR, RESUME)),
    "local_resource": Advice(
        "this machine ran out of file descriptors or memory",
        "raise the limit (ulimit -n), or lower documents_in_flight, then go on",
        (DOCTOR, RESUME),
    ),
    "ledger_failed": Advice("the ledger could not be written", "make room, or use a local disk, then go on", (RESUME,)),
    "duplicate_id": Advice("two documents of the source have one id", "give each an id of its own", (RESUME,)),
    # calls that programs make beside the run's own
    "call_invalid": Advice("a call in the stage's code makes no sense", "mend the stage where the error says"),
    "call_timeout": Advice("a call in the stage's code took longer than it may", "raise its timeout"),
    "llm_budget_exceeded": Advice("the budget of an adapter in the stage's code was used up", "give it more"),
    "llm_request_failed": Advice("a call in the stage's code failed", "read the error", (RETRY_FAILED,)),
    "llm_error": Advice("a call in the stage's code failed", "read the error", (RETRY_FAILED,)),
    "command_failed": Advice("a command that was asked in the place of a provider failed", "read what it said"),
    "command_not_found": Advice(
        "a command that is asked is not installed", "install it, or correct its path", (RESUME,)
    ),
    # before a run
    **dict.fromkeys(
        ("config_invalid", "role_runtime", "unknown_role", "unknown_provider"),
        Advice("the configuration is wrong", "mend it where the error says", (CHECK, RESUME)),
    ),
    "input_invalid": Advice("the source or a folder can't be used", "mend it where the error says", (CHECK, RESUME)),
    "run_invalid": Advice(
        "the run directory can't be used", "see what is wrong with it", ("agent-pipeline verify {run}",)
    ),
    "recording_invalid": Advice(
        "the recording can't be used or written", "mend what the error says, or record the run again", (RESUME,)
    ),
    "results_not_written": Advice(
        "a table of results could not be written; the run itself is whole",
        "make room, or mend the permissions of the folder, then write the table from the ledger",
        ("agent-pipeline export {run} results.csv",),
    ),
    "engine_failed": Advice(
        "no worker could be brought to work", "see what the last one died of, then go on", (DOCTOR, RESUME)
    ),
    "worker_mismatch": Advice(
        "a worker has another version of the package, or other code of the stages",
        "install the same there, then go on",
        (RESUME,),
    ),
    "run_in_use": Advice("another process works on the run", "wait for it, or stop it", ("agent-pipeline show {run}",)),
}


def advice_on(code: str) -> Advice:
    """Return what to say of a code; of one that is not ours, a stage's own for example, what is always true."""
    return ADVICE.get(code, _BUG)
