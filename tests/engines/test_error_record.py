"""An error that came from another process is what it would have been in this one."""

import pickle

from agent_pipeline.engines.error_record import ErrorRecord
from agent_pipeline.errors import AgentPipelineError, RequestRejectedError


class TheirError(RequestRejectedError):
    """A class that no driver has to know."""

    code = "theirs"
    disposition = "fail_run"

    def __init__(self) -> None:
        super().__init__("said", status_code=418)
        self.socket = object()
        self.deep = ("plain", (1, object()))


def test_an_error_of_somebody_elses_class_keeps_what_a_run_goes_by() -> None:
    """The nearest class of ours, with the code and the disposition of theirs; what can't travel stays there."""
    revived = pickle.loads(pickle.dumps(ErrorRecord.of(TheirError()))).revived()  # noqa: S301 - our own

    assert type(revived) is RequestRejectedError
    assert (revived.code, revived.disposition, str(revived), revived.status_code) == ("theirs", "fail_run", "said", 418)
    assert not hasattr(revived, "socket")
    assert not hasattr(revived, "deep")
    assert (RequestRejectedError.code, RequestRejectedError.disposition) == ("request_rejected", "fail_document")


def test_an_error_says_where_it_was_where_that_is_to_be_told() -> None:
    """What stops a worker as it starts is nowhere to be seen for the driver."""
    assert str(ErrorRecord.of(RequestRejectedError("no"), where="worker 2 on there").revived()) == (
        "worker 2 on there: no"
    )


def test_a_class_this_version_does_not_know_is_still_an_error_of_ours() -> None:
    """A worker of another version is refused, but may have spoken before."""
    assert type(ErrorRecord("OfTomorrowError", "words").revived()) is AgentPipelineError
    assert type(ErrorRecord("annotations", "words").revived()) is AgentPipelineError
