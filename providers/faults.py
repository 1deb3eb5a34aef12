"""Options in which every mistake is told with what to write instead."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from providers.adapter import Options

HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def fault(text: str) -> PydanticCustomError:
    # Braces are placeholders to pydantic.
    return PydanticCustomError("option", "{text}", {"text": text})


def refuse(faults: Iterable[tuple[str, str]]) -> None:
    """Raises ValidationError, naming each option that has a fault, unless there is none."""
    lines = [InitErrorDetails(type=fault(text), loc=(name,), input=None) for name, text in faults]
    if lines:
        raise ValidationError.from_exception_data("options", lines)


class Declaration(Options):
    """Options in which every mistake is told with what to write instead; a field's `description` is an example of it."""

    @model_validator(mode="wrap")
    @classmethod
    def _tell(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(value)
        except ValidationError as error:
            lines = [
                InitErrorDetails(type=fault(cls._told(each)), loc=each["loc"], input=None)
                for each in error.errors(include_url=False)
            ]
        raise ValidationError.from_exception_data(cls.__name__, lines)

    @classmethod
    def _told(cls, problem: Mapping[str, Any]) -> str:
        match problem["type"]:
            case "missing":
                return f"is missing: write {cls.model_fields[problem['loc'][0]].description}"
            case "extra_forbidden":
                close = difflib.get_close_matches(str(problem["loc"][0]), cls.model_fields, n=1)
                return "is no option" + (
                    f": do you mean {close[0]}?" if close else f" of {', '.join(cls.model_fields)}"
                )
            case "model_type" | "model_attributes_type":
                return f"is no table: its options are {', '.join(cls.model_fields)}"
            case _:
                return str(problem["msg"])


def header_name(name: str) -> str:
    if not HEADER.fullmatch(name):
        raise fault(f"{name!r} is no header's name: write it as the provider sends it, X-Acme-Signature")
    return name


HeaderName = Annotated[str, AfterValidator(header_name)]
