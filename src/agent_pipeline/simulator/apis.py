"""The APIs that ask a model something: by path, how a request is understood and how its reply is made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from agent_pipeline.simulator.answer import Answer, answer_to
from agent_pipeline.simulator.chat_api import completion_events, completion_object
from agent_pipeline.simulator.conversation import Ask, chat_ask, responses_ask
from agent_pipeline.simulator.embeddings_api import embeddings_ask, embeddings_object
from agent_pipeline.simulator.identity import Identity
from agent_pipeline.simulator.json_values import JsonObject
from agent_pipeline.simulator.responses_api import response_events, response_object
from agent_pipeline.simulator.wire import SimulatorReply, json_reply, stream_reply


@dataclass(frozen=True, slots=True)
class Made:
    """A whole reply, and the tokens it reports."""

    reply: SimulatorReply
    input_tokens: int
    output_tokens: int


Make = Callable[[Ask, Identity, float], Made]


@dataclass(frozen=True, slots=True)
class Api:
    """One API.

    Attributes:
        understand: raises BadRequestError for a body that is not as the API wants it.
        make: the last argument is the seconds between two events of a stream; raises BadRequestError, too.
    """

    understand: Callable[[JsonObject], Ask]
    make: Make


def _answering(
    whole: Callable[[Ask, Answer, Identity], JsonObject], events: Callable[[Ask, Answer, Identity], list[bytes]]
) -> Make:
    def make(ask: Ask, identity: Identity, chunk_delay: float) -> Made:
        answer = answer_to(ask)
        reply = (
            stream_reply(events(ask, answer, identity), chunk_delay)
            if ask.stream
            else json_reply(whole(ask, answer, identity))
        )
        return Made(reply, answer.input_tokens, answer.output_tokens)

    return make


def _embed(ask: Ask, _identity: Identity, _chunk_delay: float) -> Made:
    return Made(json_reply(embeddings_object(ask)), ask.input_tokens(), 0)


APIS: Final[Mapping[str, Api]] = {
    "/v1/responses": Api(responses_ask, _answering(response_object, response_events)),
    "/v1/chat/completions": Api(chat_ask, _answering(completion_object, completion_events)),
    "/v1/embeddings": Api(embeddings_ask, _embed),
}
