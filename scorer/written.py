"""Values of settings, policies and recipes as people write them in files."""

from __future__ import annotations

from typing import get_args

from pydantic import BaseModel, ValidationInfo, field_validator
from pydantic_core import PydanticKnownError


class WrittenValues(BaseModel):
    """A model of which no number may be written as true or false: YAML reads yes and on so, and pydantic takes them for 1."""

    @field_validator("*", mode="before")
    @classmethod
    def _no_number_is_true(cls, value: object, info: ValidationInfo) -> object:
        kind = cls.model_fields[str(info.field_name)].annotation
        kinds = {kind, *get_args(kind)}
        if isinstance(value, bool) and kinds & {int, float} and bool not in kinds:
            raise PydanticKnownError("float_type")
        return value
