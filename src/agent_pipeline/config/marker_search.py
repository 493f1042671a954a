"""Whether a text holds any of many words: the quick look before a slow one."""

from collections.abc import Iterable

from ahocorasick_rs import AhoCorasick


class MarkerSearch:
    """Looks for many words at once, small and capital letters alike, in one pass over a text; immutable, any thread.

    >>> search = MarkerSearch(["sk-", "Bearer"])
    >>> search.finds("an SK-1"), search.finds("a bearer"), search.finds("a bear")
    (True, True, False)

    Args:
        markers: the words; an empty one is in every text.
    """

    def __init__(self, markers: Iterable[str]) -> None:
        words = {marker.lower() for marker in markers}
        self._finds_always = any(not _is_encodable(word) or not word for word in words)
        self._automaton = None if self._finds_always or not words else AhoCorasick(sorted(words))

    def finds(self, text: str) -> bool:
        """Return whether a word is in the text; also True where it can't be told, because of half a surrogate pair."""
        if self._automaton is None:
            return self._finds_always
        try:
            return bool(self._automaton.find_matches_as_indexes(text.lower()))
        except UnicodeEncodeError:
            return True


def _is_encodable(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True
