"""Short and full names of resources: `reviews` is `projects/default/datasets/reviews`, and either may be given."""

from __future__ import annotations

import re
from typing import Any

_LETTERS = re.compile(r"[^a-z0-9]+")


def full(collection: str, name: str, project: str) -> str:
    """The full name of a resource right under its project. A name that begins with `projects/` stays as it is."""
    return name if name.startswith("projects/") else f"projects/{project}/{collection}/{name}"


def nested(parents: str, collection: str, name: str, project: str) -> str:
    """The full name of a resource one floor deeper, given as `parent/name`: `reviews/gold` is a label set of `reviews`."""
    if name.startswith("projects/"):
        return name
    parent, slash, own = name.partition("/")
    if not slash or not parent or not own:
        own_word = re.sub("([A-Z])", r" \1", collection[:-1]).lower()
        raise ValueError(f"'{name}' names no {own_word}: write it as <{parents[:-1]}>/<{own_word}>, or in full.")
    return f"projects/{project}/{parents}/{parent}/{collection}/{own.removeprefix(collection + '/')}"


def model(name: str, project: str) -> str:
    """The full name of a model (`reviews`), of a version of it (`reviews/3`), or of an alias (`reviews@champion`)."""
    name = name.replace("@", "/aliases/") if not name.startswith("projects/") else name
    model_id, slash, version = name.partition("/")
    return full("models", f"{model_id}/versions/{version}" if slash and version.isdigit() else name, project)


def short(name: str) -> str:
    """What a person calls it: the last part; `reviews/3` for a version or label set."""
    parts = name.split("/")
    return "/".join(parts[3::2]) if len(parts) > 4 else parts[-1]


def parent(name: str) -> str:
    """The name of the resource that holds this one."""
    return "/".join(name.split("/")[:-2])


def project_of(name: str) -> str:
    """The id of the project that owns it."""
    return name.split("/")[1]


def project_in(request: Any) -> str:
    """The id of the project that a request is about, by its `name` or `parent`; empty where it says none."""
    name = str(getattr(request, "parent", "") or getattr(request, "name", ""))
    return project_of(name) if name.startswith("projects/") else ""


def id_from(text: str) -> str:
    """A valid id (small letters, digits, `-`, a letter first) from any text, such as a file's name."""
    words = _LETTERS.sub("-", text.lower()).strip("-")
    return (words if words[:1].isalpha() else f"d-{words}".strip("-"))[:60].strip("-")
