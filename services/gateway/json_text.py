"""JSON text that says a thing once: an object with a key twice is refused, where a parser would keep the last silently."""

from __future__ import annotations

import json

from services.common.errors import InvalidField

_Pairs = list[tuple[str, object]]


class _Object(_Pairs):
    """An object's keys and values as they were written."""


def refuse_twice(text: bytes, read: object, path: str = "") -> None:
    """Raises `InvalidField` with the place of a key that is there twice; `read` is what a parser made of the text.

    Most texts are cleared by counting: where there are as many colons as keys, none is a second one, and none is in a string.
    """
    if text.count(b":") == _keys(read):
        return
    try:
        json.loads(text, object_pairs_hook=_once, parse_int=str, parse_float=str)
    except _TwiceError:
        whole = json.loads(text, object_pairs_hook=_Object, parse_int=str, parse_float=str)
        raise InvalidField(_place(whole, path), "is given twice. Send it once.") from None
    except RecursionError:
        return  # whoever reads the message refuses it for its depth


class _TwiceError(Exception):
    """Some object has some key twice."""


def _once(pairs: _Pairs) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _TwiceError
    return found


def _keys(read: object) -> int:
    count, waiting = 0, [read]
    while waiting:
        one = waiting.pop()
        if type(one) is dict:
            count += len(one)
            waiting += [value for value in one.values() if type(value) in _NESTING]
        elif type(one) is list:
            waiting += [value for value in one if type(value) in _NESTING]
    return count


_NESTING = (dict, list)


def _place(value: object, path: str) -> str:
    """The path of the first key that is there twice; empty where none is."""
    if isinstance(value, _Object):
        seen = set[str]()
        for key, content in value:
            at = f"{path}.{key}" if path else key
            if key in seen:
                return at
            seen.add(key)
            if found := _place(content, at):
                return found
    elif isinstance(value, list):
        for index, content in enumerate(value):
            if found := _place(content, f"{path}[{index}]"):
                return found
    return ""
