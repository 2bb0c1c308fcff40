"""What a service of the user's own says about somebody, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from authotron.model.errors import Unavailable

A = TypeVar("A", bound="Grants")


class Grants(BaseModel):
    """What somebody has. Anything else in an answer is passed over."""

    model_config = ConfigDict(strict=True, frozen=True, hide_input_in_errors=True)

    roles: list[str] = Field(default_factory=list)
    attributes: dict[str, str] = Field(default_factory=dict)


class Account(Grants):
    """Somebody with a name, and until when the credential is good."""

    username: str = Field(min_length=1)
    scopes: dict[str, list[str]] = Field(default_factory=dict)
    expires: float | None = Field(default=None, ge=0, allow_inf_nan=False)


def read(kind: type[A], told: Mapping[str, Any], place: str) -> A:
    """
    What an answer describes.

    @raise Unavailable: nothing of this kind.
    """
    try:
        return kind.model_validate(told)
    except ValidationError as error:
        where = ".".join(map(str, error.errors(include_input=False)[0]["loc"]))
        raise Unavailable(f"{place}: {where} is not as agreed") from None
