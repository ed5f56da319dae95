"""Patterns over text columns: keywords as one pattern, patterns checked, matches found. RE2 always ends in linear time."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from services.common.errors import UnsafeExpression

_LETTER = r"[^\pL\pN_]"
# RE2's message, and what helps. https://github.com/google/re2/wiki/Syntax lists what it leaves out.
_CURES = (
    (r"\(\?(=|!|<=|<!)", "RE2 has no look-ahead or look-behind: match the text itself, or add a labeler that votes against."),
    (r"\\[1-9]", "RE2 has no back-references: write the repeated part out."),
    (r"\(\?>|\+\+|\*\+|\?\+", "RE2 has no atomic groups or possessive quantifiers, and never needs them: leave them out."),
    (r"", "Write special characters with a backslash to mean themselves; close every bracket."),
)
_TOO_MUCH = "Repeat less: RE2 allows at most 1,000 repetitions, nested ones multiplied."


def keyword_pattern(keywords: Sequence[str], *, within_words: bool) -> str:
    """One pattern for any of the keywords; whole words in every script, unless `within_words`."""
    longest_first = sorted(keywords, key=len, reverse=True)
    if within_words:
        return "|".join(map(_escaped, longest_first))
    return "|".join(_as_word(keyword) for keyword in longest_first)


def check_pattern(pattern: str, field: str) -> None:
    """Raises `UnsafeExpression` with the place of the mistake and its cure."""
    try:
        pc.match_substring_regex(pa.array(["x"]), pattern)
    except pa.ArrowInvalid as error:
        raise UnsafeExpression(_explained(pattern, str(error), field), field=field) from None


def matches(texts: pa.Array, pattern: str, *, case_sensitive: bool) -> pa.BooleanArray:
    """Whether the pattern occurs; false where the text is missing."""
    return pc.fill_null(pc.match_substring_regex(texts, pattern, ignore_case=not case_sensitive), False)


def excerpt(text: str, pattern: str, *, case_sensitive: bool, most: int) -> str:
    """At most `most` characters around the first match."""
    found = pc.find_substring_regex(pa.array([text]), pattern, ignore_case=not case_sensitive)[0].as_py()
    at = len(text.encode()[: max(found or 0, 0)].decode(errors="ignore"))
    return around(text, at, most=most)


def around(text: str, at: int, *, most: int) -> str:
    """At most `most` characters of a text around a place, on one line, with an ellipsis where it is cut."""
    start = 0 if len(text) <= most else max(0, min(at - most // 3, len(text) - most + 2))
    end = min(len(text), start + most - (start > 0))
    cut = end < len(text)
    shown = text[start : end - cut]
    return " ".join(f"{'…' if start else ''}{shown}{'…' if cut else ''}".split())[:most]


def _as_word(keyword: str) -> str:
    """A boundary is asked for only beside a letter or digit: `:)` and `#sale` have none of their own."""
    before = rf"(?:^|{_LETTER})" if re.match(r"\w", keyword) else ""
    after = rf"(?:$|{_LETTER})" if re.search(r"\w$", keyword) else ""
    return f"(?:{before}{_escaped(keyword)}{after})"


def _escaped(text: str) -> str:
    """RE2 takes a backslash before ASCII punctuation alone; white space matches any white space."""
    quoted = "".join(f"\\{c}" if c.isascii() and not c.isalnum() and not c.isspace() and c != "_" else c for c in text.strip())
    return re.sub(r"\s+", r"\\s+", quoted)


def _explained(pattern: str, message: str, field: str) -> str:
    problem = message.split("Invalid regular expression: ")[-1].strip()
    fragment = problem.split(": ", 1)[1] if ": " in problem else ""
    place = _unclosed(pattern) if problem.startswith("missing )") else pattern.rfind(fragment) + 1 if fragment else 0
    where = f" at character {place}" if place else ""
    too_much = "too large" in problem or "repetition size" in problem
    cure = _TOO_MUCH if too_much else next(cure for sign, cure in _CURES if re.search(sign, fragment or pattern))
    return f"{field}: the pattern can't be read{where} ({problem}). {cure}"


def _unclosed(pattern: str) -> int:
    """The place (from 1) of the last parenthesis that is opened and not closed; RE2 names the whole pattern instead."""
    opened: list[int] = []
    for part in re.finditer(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[()]", pattern, re.DOTALL):
        if part.group() == "(":
            opened.append(part.start() + 1)
        elif part.group() == ")" and opened:
            opened.pop()
    return opened[-1] if opened else 0
