"""Field masks (AIP-134, AIP-157, AIP-161): which fields an update changes, and which a caller wants to read.

A path is a field's name in the proto, or its JSON name, deeper ones behind dots. `*` is all fields.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from services.common.errors import InvalidField

ALL = "*"
MOST_PATHS = 100


def paths(mask: FieldMask, resource: Message, *, fixed: Collection[str], field: str = "update_mask") -> list[str]:
    """The top-level fields that an update changes: those of the mask, all for `*`, and for no mask those that are set.

    `fixed` are fields that can't be changed: the mask mustn't name them. Raises `InvalidField`.
    """
    free = [one.name for one in resource.DESCRIPTOR.fields if one.name not in fixed]
    if list(mask.paths) == [ALL]:
        return free
    if not mask.paths:
        return [one.name for one, _ in resource.ListFields() if one.name in free]
    by_name = {name: one.name for one in resource.DESCRIPTOR.fields for name in (one.name, one.json_name)}
    wanted = [by_name.get(path, path) for path in mask.paths]
    wrong = next((path for path, name in zip(mask.paths, wanted, strict=True) if name not in free), None)
    if wrong is not None:
        raise InvalidField(
            field, f"'{wrong[:80]}' is no field that can be changed. These can: {', '.join(free)}; or all, by *."
        )
    return wanted


def merge(source: Message, target: Message, names: Iterable[str]) -> None:
    """Makes these top-level fields of `target` what they are in `source`: unset where they are unset there."""
    for name in names:
        target.ClearField(name)
    part = type(source)()
    part.CopyFrom(source)
    kept = set(names)
    for one in source.DESCRIPTOR.fields:
        if one.name not in kept:
            part.ClearField(one.name)
    target.MergeFrom(part)


class ReadMask:
    """The fields that a caller wants of an answer, as a tree of names; `keep` leaves the others out."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self._tree = tree

    def keep(self, message: Message) -> None:
        """Clears every field that isn't asked for."""
        _prune(message, self._tree)


def read_mask(text: str, descriptor: Any, field: str = "fields") -> ReadMask | None:
    """What `fields` asks for: paths with commas between; None where it is empty or `*`.

    A path through a list means the field of each of its entries. Raises `InvalidField`.
    """
    named = [path.strip() for path in text.split(",") if path.strip()]
    if not named or named == [ALL]:
        return None
    if len(named) > MOST_PATHS:
        raise InvalidField(field, f"names {len(named)} paths. Use at most {MOST_PATHS}.")
    tree: dict[str, Any] = {}
    for path in named:
        _add(tree, path, descriptor, field)
    return ReadMask(tree)


def _add(tree: dict[str, Any], path: str, descriptor: Descriptor, field: str) -> None:
    """Puts a path into the tree; an empty branch is the whole field, which a deeper path doesn't narrow."""
    whole = False
    steps = path.split(".")
    for index, step in enumerate(steps):
        found = next((one for one in descriptor.fields if step in (one.name, one.json_name)), None)
        if found is None:
            names = ", ".join(one.json_name for one in descriptor.fields)
            raise InvalidField(field, f"'{path[:80]}': there is no field '{step[:60]}'. There are: {names}.")
        last = index == len(steps) - 1
        inside = found.message_type
        if not last and (inside is None or inside.GetOptions().map_entry or inside.full_name.startswith("google.protobuf.")):
            raise InvalidField(field, f"'{path[:80]}': '{step[:60]}' has no fields that can be chosen.")
        whole = found.name in tree and not tree[found.name]
        if last:
            tree[found.name] = {}
        elif not whole:
            tree = tree.setdefault(found.name, {})
            descriptor = inside  # type: ignore[assignment]
        else:
            return


def _prune(message: Any, tree: dict[str, Any]) -> None:
    for one, value in message.ListFields():
        if one.name not in tree:
            message.ClearField(one.name)
        elif tree[one.name]:
            for entry in value if one.is_repeated else (value,):
                _prune(entry, tree[one.name])
