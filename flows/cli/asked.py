"""Options of the command line, made of the models that say what a run can be asked for.

So a field's name, default, bounds and text stand in one place, and the run form, `--help` and the documentation of a
deployment say the same.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from flows.cli.talk import CallError

M = TypeVar("M", bound=BaseModel)
Command = Callable[..., None]

FLAGS: Mapping[str, tuple[str, ...]] = {
    "output": ("--output", "-o"),
    "bundle": ("--bundle", "-b"),
    "target": ("--target", "-t"),
    "alpha": ("--alpha", "-a"),
    "channels": ("--channels", "-c"),
    "edits_file": ("--edits", "-e"),
    "attributes_file": ("--attributes", "-a"),
    "learning_rate": ("--learning-rate", "--lr"),
    "truncation_psi": ("--psi",),
    "kind": ("--runner",),
}
"""Field → how it is called on the command line, where that is not `--its-name`."""


def options(
    *models: type[BaseModel],
    leave_out: tuple[str, ...] = (),
    arguments: tuple[str, ...] = (),
    names: Mapping[str, tuple[str, ...]] = types.MappingProxyType({}),
    unset: bool = False,
) -> Callable[[Command], Command]:
    """Give a command an option for every field of `models`, except those that it takes itself and `leave_out`.

    The command gets the values as keywords, for `made`. `arguments` are taken by position, `names` adds to `FLAGS`.
    unset: an option that is not given stays out, so that what it belongs to may have other defaults.
    """
    names = {**FLAGS, **names}

    def decorate(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True).parameters
        keywords = {
            name: each.replace(kind=each.KEYWORD_ONLY)
            for name, each in own.items()
            if each.kind is not each.VAR_KEYWORD
        }
        found: dict[str, inspect.Parameter] = {}
        for model in models:
            for name, field in _flat(model).items():
                if name not in keywords and name not in leave_out and name not in found:
                    flags = () if name in arguments else names.get(name, (_flag(name),))
                    found[name] = _parameter(name, field, flags, unset)
        every = [*found.values(), *keywords.values()]
        needed = [each for each in every if each.default is each.empty]
        ours = [each for each in keywords.values() if each not in needed and each.name != "as_json"]
        machine = [each for each in keywords.values() if each.name == "as_json"]
        rest = [each for each in found.values() if each not in needed]

        @functools.wraps(command)
        def wrapper(*args: Any, **kwargs: Any) -> None:
            command(*args, **kwargs)

        wrapper.__signature__ = inspect.Signature([*needed, *ours, *rest, *machine])  # type: ignore[attr-defined]
        return wrapper

    return decorate


def read(model: type[BaseModel], asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for of a model's fields: lists of numbers in words become numbers.

    Raises CallError for what is no number.
    """
    fields = {
        name: value for name, value in asked.items() if name in model.model_fields and value is not None
    }
    nested = {
        name: {part: asked[part] for part in inner.model_fields if asked.get(part) is not None}
        for name, inner in _models(model).items()
        if name not in fields
    }
    return nested | {
        name: _numbers(value, name, model) if _strengths(model.model_fields[name].annotation) else value
        for name, value in fields.items()
    }


def made(model: type[M], asked: Mapping[str, Any], **others: Any) -> M:
    """The model, of what was asked for on the command line, and `others`.

    Raises pydantic's ValidationError, and CallError for what is no number.
    """
    return model(**{**read(model, asked), **others})


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those values that say anything."""
    return {name: value for name, value in values.items() if value}


def _models(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """The fields of a model that are models themselves."""
    return {
        name: field.annotation
        for name, field in model.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }


def _flat(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a model and of the models within it, without those that no option can give."""
    inner = _models(model)
    found = {name: field for name, field in model.model_fields.items() if name not in inner}
    for each in inner.values():
        found |= {
            name: field
            for name, field in each.model_fields.items()
            if typing.get_origin(field.annotation) is not dict
        }
    return found


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _parameter(name: str, field: FieldInfo, flags: tuple[str, ...], unset: bool) -> inspect.Parameter:
    kind = _plain_type(field.annotation)
    default = inspect.Parameter.empty if field.default is PydanticUndefined else field.default
    if field.default_factory is not None:
        default = None
    text = (field.description or "").replace("; empty:", "; default:").replace(" Empty:", " Default:")
    shown = default not in (None, inspect.Parameter.empty, "", False)
    if unset and default is not inspect.Parameter.empty:
        text += f" Default {default}." if shown else ""
        shown, default = False, None
    if kind is bool and len(flags) == 1 and flags[0] == _flag(name):
        flags = (f"{flags[0]}/--no-{flags[0][2:]}",)
    if default is None:
        kind = kind | None  # type: ignore[assignment]
    about = (
        typer.Option(*flags, help=text, show_default=shown)
        if flags
        else typer.Argument(help=text, show_default=shown)
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, about]
    )


def _parts(annotation: Any) -> list[Any]:
    """The alternatives of a type, without what pydantic adds to it."""
    if typing.get_origin(annotation) is Annotated:
        return _parts(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return [each for part in typing.get_args(annotation) for each in _parts(part)]
    return [] if annotation is type(None) else [annotation]


def _strengths(annotation: Any) -> bool:
    """Whether a field takes a number, or a list of them that makes a grid."""
    parts = _parts(annotation)
    return len(parts) > 1 and any(typing.get_origin(part) is list for part in parts)


def _plain_type(annotation: Any) -> type:
    """What typer shall read: choices as text, and strengths too, so that commas may stand between them; what is wrong
    with a value is then said by the model, in the same words as anywhere else."""
    if _strengths(annotation):
        return list[str]
    part = _parts(annotation)[0]
    if typing.get_origin(part) is list:
        return list[str]
    return str if typing.get_origin(part) is Literal else part


def _numbers(texts: list[str], name: str, model: type[BaseModel]) -> Any:
    """["2,4", "6"] → [2, 4, 6]; a word that the field knows stays one. Raises CallError for anything else."""
    words = [
        word
        for part in _parts(model.model_fields[name].annotation)
        if typing.get_origin(part) is Literal
        for word in typing.get_args(part)
    ]
    if len(texts) == 1 and texts[0] in words:
        return texts[0]
    parts = [part.strip() for entry in texts for part in entry.split(",") if part.strip()]
    try:
        return [int(part) if part.isdigit() else float(part) for part in parts]
    except ValueError as error:
        flag = FLAGS.get(name, (_flag(name),))[0]
        raise CallError(f"{flag} takes numbers, one or several with commas between: {error}") from error
