"""What the protocol calls a model, as Regrow's resource name.

`shop.reviews` is model `reviews` of project `shop`, and `reviews` alone is of project `default`: ids hold no dot, and the
name needs no quoting in a path. A version is its number, or an alias where it is no number; empty is the champion.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from services.common.errors import InvalidField
from services.common.names import check_id, number

DEFAULT_PROJECT = "default"


@dataclass(frozen=True, slots=True)
class Named:
    """`resource` is a model, a version of it or an alias, as `Serving.find` reads it."""

    project: str
    model: str
    resource: str


@lru_cache(maxsize=4096)
def read(name: str, version: str, field: str = "name") -> Named:
    """Raises `InvalidField`; `field` is how the request calls the model's name."""
    if not name:
        raise InvalidField(field, "is empty. It looks like 'reviews', or 'shop.reviews' for a project other than default.")
    project, _, model = name.rpartition(".")
    project = check_id(project, field) if project else DEFAULT_PROJECT
    resource = f"projects/{project}/models/{check_id(model, field)}"
    if not version:
        return Named(project, resource, resource)
    if version[0].isdigit():
        return Named(project, resource, f"{resource}/versions/{number(version, 'version')}")
    return Named(project, resource, f"{resource}/aliases/{check_id(version, 'version')}")


def written(model: str) -> str:
    """`shop.reviews` of `projects/shop/models/reviews`, and the names of what is within it."""
    _, project, _, model_id, *_ = model.split("/")
    return model_id if project == DEFAULT_PROJECT else f"{project}.{model_id}"
