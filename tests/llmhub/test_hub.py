"""Calls by role, in every flavour, over real sockets."""

import logging
from collections.abc import Generator

import pytest
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response
from tests.llmhub.flavours import FLAVOURS, Asker, Flavour, Messages

from agent_pipeline import (
    BudgetExceededError,
    CredentialsRejectedError,
    RequestRejectedError,
    StreamBrokenError,
)
from agent_pipeline.llmhub import (
    CallContext,
    CallResult,
    LLMHub,
    RuntimeConfig,
    UnknownRoleError,
    parse_runtime_config,
)
from agent_pipeline.testing import SimulatorThread

ASKED = [{"role": "user", "content": "The lake is deep. Say that again."}]
LIMITS = {"retry": {"initial_delay": 0.01, "max_delay": 0.02}}


def config_at(base_url: str, **more: object) -> RuntimeConfig:
    return parse_runtime_config(
        {
            "project": "tests",
            "env": "test",
            "providers": {
                "lake": {"base_url": base_url},
                "river": {"base_url": base_url, "api": "responses"},
            },
            "roles": {
                "llm.inference": {"provider": "lake", "model": "m-1", "params": {"max_tokens": 500}},
                "llm.reader": {"provider": "river", "model": "m-2"},
                "llm.embedding": {
                    "provider": "lake",
                    "model": "e-1",
                    "mode": "embedding",
                    "params": {"embedding_dim": 8},
                },
                "llm.brief": {"provider": "lake", "model": "m-1", "instructions": "Be brief."},
                **more,
            },
            "defaults": {"provider": "lake", "model": "m-default"},
        }
    )


@pytest.fixture(params=FLAVOURS)
def asker(request: pytest.FixtureRequest) -> Asker:
    flavour: Flavour = request.param
    return Asker(flavour)


@pytest.fixture
def simulator() -> Generator[SimulatorThread]:
    with SimulatorThread() as running:
        yield running


def test_a_completion_is_the_providers_own_answer(asker: Asker, simulator: SimulatorThread) -> None:
    hub = LLMHub(config_obj=config_at(simulator.base_url))

    answer = asker.completion(hub, "llm.inference", ASKED)
    hub.close()

    assert isinstance(answer, ChatCompletion)
    assert "lake" in (answer.choices[0].message.content or "")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0
    assert simulator.statistics.requests == 1


def test_a_provider_that_says_responses_answers_with_a_response(asker: Asker, simulator: SimulatorThread) -> None:
    hub = LLMHub(config_obj=config_at(simulator.base_url))

    answer = asker.completion(hub, "llm.reader", ASKED)
    hub.close()

    assert isinstance(answer, Response)
    assert "lake" in answer.output_text


def test_an_embedding_is_the_providers_own_answer(asker: Asker, simulator: SimulatorThread) -> None:
    """And our word for the length of a vector is the provider's."""
    hub = LLMHub(config_obj=config_at(simulator.base_url))

    answer = asker.embedding(hub, "llm.embedding", ["one", "two"])
    hub.close()

    assert isinstance(answer, CreateEmbeddingResponse)
    assert [len(one.embedding) for one in answer.data] == [8, 8]


def test_a_stream_gives_the_providers_own_chunks(asker: Asker, simulator: SimulatorThread) -> None:
    hub = LLMHub(config_obj=config_at(simulator.base_url))

    whole = asker.completion(LLMHub(config_obj=config_at(simulator.base_url)), "llm.inference", ASKED)
    chunks = asker.stream(hub, "llm.inference", ASKED)
    hub.close()

    assert len(chunks) > 2
    assert all(isinstance(chunk, ChatCompletionChunk) for chunk in chunks)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content


def test_a_stream_of_responses_ends_with_its_terminal_event(asker: Asker, simulator: SimulatorThread) -> None:
    hub = LLMHub(config_obj=config_at(simulator.base_url))

    events = asker.stream(hub, "llm.reader", ASKED)
    hub.close()

    assert events[-1].type == "response.completed"
    assert "lake" in events[-1].response.output_text


def test_an_override_wins_over_the_roles_params_for_one_call(asker: Asker, simulator: SimulatorThread) -> None:
    """An answer that the model cut short for it is an answer: whoever asks raw sees the reason in it."""
    hub = LLMHub(config_obj=config_at(simulator.base_url))

    answer = asker.completion(hub, "llm.inference", ASKED, {"max_tokens": 1})
    hub.close()

    assert answer.choices[0].finish_reason == "length"


def test_a_role_that_is_not_there_runs_on_the_defaults_unless_that_is_refused(
    asker: Asker, simulator: SimulatorThread
) -> None:
    config = config_at(simulator.base_url)
    hub, strict = LLMHub(config_obj=config), LLMHub(config_obj=config, strict_roles=True)

    assert asker.completion(hub, "llm.memwrite", ASKED).model.startswith("m-default")
    with pytest.raises(UnknownRoleError, match="did you mean"):
        asker.completion(strict, "llm.inferense", ASKED)
    hub.close()


def test_what_retries_cure_is_not_seen(asker: Asker) -> None:
    faults = [{"kind": "status", "status": 429, "retry_after": 0.01, "script": [1]}]
    with SimulatorThread(faults=faults) as simulator:
        hub = LLMHub(config_obj=config_at(simulator.base_url), limits=LIMITS)
        asker.completion(hub, "llm.inference", ASKED)
        hub.close()
        assert simulator.statistics.requests == 2


def test_what_no_retry_cures_is_an_error_after_one_request(asker: Asker) -> None:
    with SimulatorThread(faults=[{"kind": "status", "status": 400, "rate": 1.0}]) as simulator:
        for ask in (asker.completion, asker.stream):
            hub = LLMHub(config_obj=config_at(simulator.base_url), limits=LIMITS)
            with pytest.raises(RequestRejectedError):
                ask(hub, "llm.inference", ASKED)
            hub.close()
        assert simulator.statistics.requests == 2


def test_a_stream_is_tried_again_until_its_first_chunk(asker: Asker) -> None:
    faults: list[dict[str, object]] = [
        {"kind": "status", "status": 503, "script": [1]},
        {"kind": "reset_before_body", "script": [2]},
    ]
    with SimulatorThread(faults=faults) as simulator:
        hub = LLMHub(config_obj=config_at(simulator.base_url), limits=LIMITS)
        chunks = asker.stream(hub, "llm.inference", ASKED)
        hub.close()
        assert simulator.statistics.requests == 3
    assert chunks[-1].usage is not None


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("kind", ["truncate_stream", "reset_mid_body"])
def test_a_stream_that_breaks_off_ends_with_an_error_and_is_not_tried_again(kind: str, flavour: Flavour) -> None:
    """Its first words were handed on; another attempt would say other ones."""
    with SimulatorThread(faults=[{"kind": kind, "rate": 1.0}]) as simulator:
        hub = LLMHub(config_obj=config_at(simulator.base_url), limits=LIMITS)
        with pytest.raises(StreamBrokenError):
            Asker(flavour).stream(hub, "llm.inference", ASKED)
        hub.close()
        assert simulator.statistics.requests == 1


def test_a_stream_that_takes_too_long_is_not_tried_again(asker: Asker) -> None:
    """The bound on an attempt is the gate's, which has to know that the first words were handed on."""
    with SimulatorThread(faults=[{"kind": "hang_mid_body", "rate": 1.0}]) as simulator:
        limits = {**LIMITS, "timeouts": {"attempt": 0.4, "read": 0.3, "connect": 0.3}}
        hub = LLMHub(config_obj=config_at(simulator.base_url), limits=limits)
        with pytest.raises(StreamBrokenError):
            asker.stream(hub, "llm.inference", ASKED)
        slow = LLMHub(config_obj=config_at(simulator.base_url), limits={**limits, "timeouts": {"attempt": 0.4}})
        with pytest.raises(StreamBrokenError):
            asker.stream(slow, "llm.inference", ASKED)
        hub.close()
        slow.close()
        assert simulator.statistics.requests == 2


def test_hooks_are_told_before_and_after_whichever_way_it_ends(asker: Asker) -> None:
    before: list[CallContext] = []
    after: list[CallResult] = []
    with SimulatorThread(faults=[{"kind": "status", "status": 401, "script": [2]}]) as simulator:
        hub = LLMHub(config_obj=config_at(simulator.base_url), on_before_call=before.append, on_after_call=after.append)
        answer = asker.completion(hub, "llm.inference", ASKED)
        hub.close()
        failing = LLMHub(
            config_obj=config_at(simulator.base_url), on_before_call=before.append, on_after_call=after.append
        )
        with pytest.raises(CredentialsRejectedError) as caught:
            asker.completion(failing, "llm.inference", ASKED)
        failing.close()

    assert [(one.role, one.provider, one.model, one.messages) for one in before] == [
        ("llm.inference", "lake", "m-1", ASKED)
    ] * 2
    assert before[0].params == {"max_tokens": 500}
    assert [(one.success, one.error, one.response) for one in after] == [
        (True, None, answer),
        (False, caught.value, None),
    ]
    assert all(one.duration_ms > 0 for one in after)


def test_hooks_are_told_of_embeddings_and_of_a_streams_end(asker: Asker, simulator: SimulatorThread) -> None:
    before: list[CallContext] = []
    after: list[CallResult] = []
    config = config_at(simulator.base_url)
    hub = LLMHub(config_obj=config, on_before_call=before.append, on_after_call=after.append)
    asker.embedding(hub, "llm.embedding", "one")
    hub.close()
    hub = LLMHub(config_obj=config, on_before_call=before.append, on_after_call=after.append)
    asker.stream(hub, "llm.inference", ASKED)
    hub.close()

    assert [(one.input, one.messages) for one in before] == [("one", None), (None, ASKED)]
    assert [one.success for one in after] == [True, True]


def test_a_failing_hook_changes_nothing_but_a_count(
    asker: Asker, simulator: SimulatorThread, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_told: object) -> None:
        raise KeyError("mine")

    hub = LLMHub(config_obj=config_at(simulator.base_url), on_before_call=fail, on_after_call=fail)
    with caplog.at_level(logging.ERROR, "agent_pipeline.llmhub"):
        answer = asker.completion(hub, "llm.inference", ASKED)
    hub.close()

    assert isinstance(answer, ChatCompletion)
    assert hub.hook_errors == 2
    assert len(caplog.records) == 2


def test_a_roles_instructions_come_first_unless_the_messages_bring_some(simulator: SimulatorThread) -> None:
    hub = LLMHub(config_obj=config_at(simulator.base_url))
    own = [{"role": "system", "content": "Be long."}, *ASKED]
    seen = [hub.completion("llm.brief", messages).usage.prompt_tokens for messages in (ASKED, own)]
    plain = hub.completion("llm.inference", ASKED).usage.prompt_tokens
    hub.close()

    assert plain < seen[0] == seen[1]


def test_a_budget_over_all_calls_is_kept(asker: Asker, simulator: SimulatorThread) -> None:
    hub = LLMHub(
        config_obj=parse_runtime_config(
            {
                "project": "p",
                "env": "e",
                "providers": {"lake": {"base_url": simulator.base_url}},
                "roles": {"r": {"provider": "lake", "model": "m", "params": {"max_tokens": 50}}},
            }
        ),
        limits={"budget": {"tokens": 60}},
    )

    with pytest.raises(BudgetExceededError):
        asker.completion(hub, "r", ASKED)
    hub.close()
    assert simulator.statistics.requests == 0


def test_messages_of_earlier_answers_are_messages(asker: Asker, simulator: SimulatorThread) -> None:
    """A conversation goes on with the provider's own object; streams could not write it, and first it had no role."""
    hub = LLMHub(config_obj=config_at(simulator.base_url))
    said = asker.completion(hub, "llm.brief", ASKED).choices[0].message
    hub = LLMHub(config_obj=config_at(simulator.base_url))

    assert asker.completion(hub, "llm.brief", [said, *ASKED]).choices[0].message.content
    hub = LLMHub(config_obj=config_at(simulator.base_url))
    assert len(asker.stream(hub, "llm.brief", [said, *ASKED])) > 1


@pytest.mark.parametrize("messages", ["hello", None, 5, {"role": "user"}])
def test_messages_that_are_no_list_are_refused_before_anything_is_sent(
    simulator: SimulatorThread, messages: Messages
) -> None:
    with (
        LLMHub(config_obj=config_at(simulator.base_url)) as hub,
        pytest.raises(RequestRejectedError, match="nothing was sent"),
    ):
        hub.completion("llm.inference", messages)

    assert simulator.statistics.requests == 0
