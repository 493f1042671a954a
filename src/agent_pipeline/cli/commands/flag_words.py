"""What is said of a flag's value that can't be used, in the words that are used of a file's."""

import re

from agent_pipeline.config.validation import nearest, wording

_CHOICE = re.compile(r"(?P<given>(['\"]).*?\2) is not one of (?P<choices>'.*')\.$", re.DOTALL)


def in_our_words(message: str) -> str:
    """Return the message about a flag with what a library says of the value in it put as we put it.

    >>> in_our_words("Invalid value for '--engine': Value error, 'rai' is not one of 'local', 'ray'.")
    "Invalid value for '--engine': 'rai' is not one of 'local', 'ray'; did you mean 'ray'?"
    """
    flag, separator, problem = message.partition(": ")
    problem = wording("", problem)
    if choice := _CHOICE.match(problem):
        near = nearest(choice["given"][1:-1], re.findall("'([^']*)'", choice["choices"]))
        problem = problem.removesuffix(".") + ("" if near is None else f"; did you mean {near!r}?")
    return f"{flag}{separator}{problem}"
