"""The embeddings API: unit vectors computed from the words of a text, so that like texts have like vectors."""

import base64
import hashlib
import math
import re
import struct
from collections import Counter
from typing import Final

from agent_pipeline.domain.document import JsonValue
from agent_pipeline.simulator.conversation import Ask, invalid, missing, model_of
from agent_pipeline.simulator.identity import announced_model
from agent_pipeline.simulator.json_values import JsonObject, as_text

DIMENSIONS: Final = 1536
MOST_DIMENSIONS: Final = 4096
MOST_INPUTS: Final = 2048

_WORD = re.compile(r"\w+")
_OWN_WEIGHT: Final = 0.05
"""Of a text as a whole against one word of it: texts of the same words differ, but not by much."""


def embeddings_ask(body: JsonObject) -> Ask:
    """Understand the body of `POST /v1/embeddings`."""
    inputs = _inputs(body)
    _dimensions(body)
    if body.get("encoding_format") not in (None, "float", "base64"):
        raise invalid("encoding_format", "'float' or 'base64'")
    texts = tuple(as_text(one) for one in inputs if isinstance(one, str))
    numbers = sum(len(one) for one in inputs if isinstance(one, list))
    return Ask(model=model_of(body), body=body, user_texts=texts, counted_tokens=numbers)


def embeddings_object(ask: Ask) -> JsonObject:
    """Return the list of vectors, in the order of the inputs."""
    dimensions = _dimensions(ask.body)
    is_packed = ask.body.get("encoding_format") == "base64"
    data: list[JsonValue] = []
    for index, one in enumerate(_inputs(ask.body)):
        text = as_text(one) if isinstance(one, str) else " ".join(map(str, one))
        packed = unit_vector(text, dimensions)
        vector: JsonValue = (
            base64.b64encode(packed).decode() if is_packed else [*struct.unpack(f"<{dimensions}f", packed)]
        )
        data.append({"object": "embedding", "index": index, "embedding": vector})
    tokens = ask.input_tokens()
    usage: JsonObject = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": announced_model(ask.model), "usage": usage}


def unit_vector(text: str, dimensions: int) -> bytes:
    """Return a vector of length 1 as little-endian 32-bit floats, the form in which the API packs them.

    Each word adds to the place, and with the sign, that its hash says (feature hashing). The text as a whole adds a
    little, so that there is a direction also where there are no words, or where words cancel out each other.
    """
    vector = [0.0] * dimensions
    for word, count in Counter(_WORD.findall(text.lower())).items():
        _add(vector, word, math.sqrt(count))
    _add(vector, f"\0{text}", _OWN_WEIGHT)
    length = math.sqrt(math.fsum(value * value for value in vector))
    return struct.pack(f"<{dimensions}f", *(value / length for value in vector))


def _add(vector: list[float], text: str, weight: float) -> None:
    number = int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest())
    vector[(number >> 1) % len(vector)] += weight if number & 1 else -weight


def _dimensions(body: JsonObject) -> int:
    wanted = body.get("dimensions")
    if wanted is None:
        return DIMENSIONS
    if not isinstance(wanted, int) or isinstance(wanted, bool) or not 1 <= wanted <= MOST_DIMENSIONS:
        raise invalid("dimensions", f"a whole number from 1 to {MOST_DIMENSIONS}")
    return wanted


def _inputs(body: JsonObject) -> list[str | list[int]]:
    """Return what is to be embedded: texts, or texts as numbers of tokens; one that stands alone is a list of one."""
    given = body.get("input")
    if given is None:
        raise missing("input")
    alone = isinstance(given, str) or (isinstance(given, list) and bool(given) and all(map(_is_token, given)))
    found: list[str | list[int]] = []
    for one in [given] if alone or not isinstance(given, list) else given:
        if isinstance(one, str) and one:
            found.append(one)
        elif isinstance(one, list) and one and all(map(_is_token, one)):
            found.append([token for token in one if isinstance(token, int)])
        else:
            raise invalid("input", "a text that is not empty, a list of tokens, or a list of such")
    if not 1 <= len(found) <= MOST_INPUTS:
        raise invalid("input", f"from 1 to {MOST_INPUTS} texts")
    return found


def _is_token(value: JsonValue) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
