"""The server on real sockets, seen by the client that users have: AsyncOpenAI, by base_url alone."""

import json

import pytest
from pydantic import BaseModel
from tests.simulator.clients import TEXT, Start, openai_of


class Extract(BaseModel):
    title: str
    summary: str


async def test_the_openai_client_gets_text_from_both_apis(start: Start) -> None:
    """By base_url alone."""
    simulator, port = await start()

    async with openai_of(port) as client:
        response = await client.responses.create(model="m", input=TEXT)
        completion = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": TEXT}])
        models = await client.models.list()

    assert response.output_text == "The moon pulls the sea. The sun helps."
    assert completion.choices[0].message.content == response.output_text
    assert [model.id for model in models.data] == ["simulator"]
    assert simulator.statistics.requests == 3


# The client breaks out of its own and the transport's generators at [DONE] and leaves them to the garbage collector.
@pytest.mark.filterwarnings("ignore:Async generator :ResourceWarning")
async def test_the_openai_client_streams_from_both_apis(start: Start) -> None:
    """The client's own accumulation gives the whole answer."""
    _, port = await start()
    said = ""

    async with openai_of(port) as client:
        async with client.responses.stream(model="m", input=TEXT) as stream:
            final = await stream.get_final_response()
        chunks = await client.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": TEXT}],
            stream=True,
            stream_options={"include_usage": True},
        )
        usage = None
        async with chunks:
            async for chunk in chunks:
                said += (chunk.choices[0].delta.content or "") if chunk.choices else ""
                usage = chunk.usage or usage

    assert final.output_text == said == "The moon pulls the sea. The sun helps."
    assert usage is not None
    assert final.usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (final.usage.input_tokens, final.usage.output_tokens)


async def test_the_openai_client_parses_structured_output_from_both_apis(start: Start) -> None:
    """With the client's own strict schemas, streamed and not."""
    _, port = await start()
    expected = Extract(title="Tides", summary="The moon pulls the sea. The sun helps.")

    async with openai_of(port) as client:
        response = await client.responses.parse(model="m", input=TEXT, text_format=Extract)
        async with client.responses.stream(model="m", input=TEXT, text_format=Extract) as stream:
            streamed = await stream.get_final_response()
        completion = await client.chat.completions.parse(
            model="m", messages=[{"role": "user", "content": TEXT}], response_format=Extract
        )

    assert response.output_parsed == expected
    assert streamed.output_parsed == expected
    assert completion.choices[0].message.parsed == expected


async def test_the_openai_client_goes_through_a_tool_in_both_apis(start: Start) -> None:
    """One call, its output, an answer that uses it."""
    _, port = await start()
    parameters: dict[str, object] = {
        "type": "object",
        "properties": {"title": {"type": "string"}},
        "required": ["title"],
        "additionalProperties": False,
    }

    async with openai_of(port) as client:
        first = await client.responses.create(
            model="m",
            input=TEXT,
            tools=[{"type": "function", "name": "height_of", "parameters": parameters, "strict": True}],
        )
        call = first.output[0]
        assert call.type == "function_call"
        answer = await client.responses.create(
            model="m",
            input=[
                {"role": "user", "content": TEXT},
                {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
                {"type": "function_call_output", "call_id": call.call_id, "output": "4 metres"},
            ],
        )
        chat = await client.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": TEXT}],
            tools=[{"type": "function", "function": {"name": "height_of", "parameters": parameters}}],
        )

    assert json.loads(call.arguments) == {"title": "Tides"}
    assert "According to height_of: 4 metres" in answer.output_text
    calls = chat.choices[0].message.tool_calls or []
    assert [call.function.name for call in calls if call.type == "function"] == ["height_of"]
