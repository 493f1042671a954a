"""What a request to a pool may not say; nothing of it is sent."""

from typing import Any

import pytest

from agent_pipeline import ConfigError
from agent_pipeline.testing import SimulatorThread
from agent_pipeline.utils import LLMPool, LLMRequestError

ASKED = [{"role": "user", "content": "The lake is deep."}]


def pool_at(base_url: str, **more: Any) -> LLMPool:  # noqa: ANN401 - whatever a pool takes
    return LLMPool(base_url=base_url, api_key="", model="m", **more)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model", r"LLMPool\(model=...\)"),
        ("stream", "LLMHub"),
        ("timeout", "set_timeout"),
        ("extra_body", "keywords of request"),
        ("base_url", r"LLMPool\(base_url=...\)"),
    ],
)
async def test_what_belongs_elsewhere_is_refused_and_says_where(name: str, words: str) -> None:
    """The model would have gone out as another one, and a timeout as a field that no server knows."""
    param: dict[str, Any] = {name: "x"}
    async with pool_at("http://127.0.0.1:9/v1") as pool:
        with pytest.raises(TypeError, match=f"^{name} is no argument of request: .*{words}"):
            await pool.request(messages=ASKED, **param)

    assert pool.statistics().requests == 0


async def test_a_budget_is_not_passed_for_want_of_a_cap() -> None:
    """The answer of a request without one may be as long as it likes."""
    with SimulatorThread() as simulator:
        async with pool_at(simulator.base_url, limits={"budget": {"tokens": 1000}}) as pool:
            with pytest.raises(ConfigError, match="a pool with a budget needs max_tokens with each request"):
                await pool.request(messages=ASKED)
            assert (await pool.request(messages=ASKED, max_tokens=50)).content
            assert (await pool.request(messages=ASKED, max_completion_tokens=50)).content
        assert simulator.statistics.requests == 2


async def test_a_param_is_told_by_its_own_name() -> None:
    async with pool_at("http://127.0.0.1:9/v1") as pool:
        with pytest.raises(ConfigError, match=r"^max_tokens: a whole number above 0 is wanted"):
            await pool.request(messages=ASKED, max_tokens="100")  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]


async def test_a_text_is_no_number_for_an_open_pool_either() -> None:
    async with pool_at("http://127.0.0.1:9/v1") as pool:
        with pytest.raises(ValueError, match=r"^max_inflight: .*'10'"):
            pool.set_max_inflight("10")  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]
        with pytest.raises(ValueError, match=r"^timeout: .*'30'"):
            pool.set_timeout("30")  # type: ignore[arg-type]  # ty: ignore[invalid-argument-type]


async def test_a_closed_pool_says_so_by_its_name() -> None:
    pool = pool_at("http://127.0.0.1:9/v1")
    async with pool:
        with pytest.raises(RuntimeError, match=r"^this LLMPool was opened before; make a new one$"):
            await pool.__aenter__()

    words = "^this LLMPool is closed; make a new one$"
    with pytest.raises(RuntimeError, match=words):
        await pool.request(messages=ASKED)
    with pytest.raises(RuntimeError, match=words):
        pool.set_timeout(3)
    with pytest.raises(RuntimeError, match=words):
        await pool.__aenter__()
    with pytest.raises(RuntimeError, match=words), pool:
        pass


async def test_an_address_without_its_last_part_is_suspected() -> None:
    with SimulatorThread() as simulator:
        root = simulator.base_url.removesuffix("/v1")
        async with pool_at(root) as pool:
            with pytest.raises(LLMRequestError, match=f"{root}/chat/completions was asked: does base_url lack /v1"):
                await pool.request(messages=ASKED)
