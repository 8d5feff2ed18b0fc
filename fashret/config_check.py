"""Check types and ranges of configured values against the signatures that receive them."""

import inspect
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import InitVar
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import Strict, TypeAdapter, ValidationError

Bounds = tuple[float | None, float | None]
"""The minimum and the maximum of a value; None for no limit."""

KEYS: dict[str, Any] = {
    "allow_trained_items": bool,
    "baseline": str | None,
    "catalog.dir": str | None,
    "catalog.index": Literal["exact", "hnsw", "ivfpq", "int8", "binary", "milvus"] | None,
    "catalog.parquet": str | None,
    "catalog.part": str | None,
    "catalog.uri": str | None,
    "catalog.dtype": Literal["float32", "float16"],
    "ckpt": str,
    "device": str,
    "dry_run": bool,
    "fail_on_regression": bool,
    "gallery": bool,
    "gather": bool,
    "half": bool,
    "host": str,
    "latency": bool,
    "monitor": str | None,
    "out": str,
    "paths.cache_dir": str,
    "paths.output_dir": str,
    "port": int,
    "queries": str | list[str],
    "quick": bool,
    "results": int,
    "resume": str | None,
    "run": str | None,
    "seed": int,
    "split": str | None,
}
"""The types of the keys that no class receives as an argument."""

RANGES: dict[str, Bounds] = {
    "callbacks.best_checkpoint.save_top_k": (-1, None),
    "callbacks.early_stopping.patience": (0, None),
    "optimizer.eps": (0, None),
    "optimizer.layer_decay": (0, 1),
    "optimizer.lr": (0, None),
    "optimizer.weight_decay": (0, None),
    "port": (0, 65535),
    "results": (1, None),
    "scheduler.final": (0, 1),
    "scheduler.warmup": (0, 1),
    "seed": (0, 2**32 - 1),
    "trainer.accumulate_grad_batches": (1, None),
    "trainer.check_val_every_n_epoch": (1, None),
    "trainer.gradient_clip_val": (0, None),
    "trainer.limit_train_batches": (0, None),
    "trainer.limit_val_batches": (0, None),
    "trainer.log_every_n_steps": (0, None),
    "trainer.max_epochs": (-1, None),
    "trainer.max_steps": (-1, None),
    "trainer.num_nodes": (1, None),
    "trainer.num_sanity_val_steps": (-1, None),
    "trainer.overfit_batches": (0, None),
}
"""The ranges of keys that their class checks too late or not at all."""

LOOSE = {"trainer.devices", "trainer.precision", "trainer.max_time"}
"""Keys that Lightning accepts in more forms than its annotations allow."""

_PAGES = {
    "data": "data.md",
    "loss": "attributes.md",
    "miner": "attributes.md",
    "model": "models.md",
    "protocol": "protocols.md",
    "retrieval": "metrics.md",
    "targets": "metrics.md",
}
_WORDS = {int: "an integer", float: "a number", str: "text", bool: "true or false"}
_PLURALS = {int: "integers", float: "numbers", str: "texts", bool: "true or false"}
_TEXT = Annotated[str, Strict()] | Annotated[int, Strict()] | Annotated[float, Strict()]
_LISTS = (list, Sequence, Iterable, set, frozenset, AbstractSet)


def argument_types(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of the arguments of a class or function; {} if not resolvable."""
    receiver = target.__init__ if inspect.isclass(target) else target
    try:
        return get_type_hints(receiver)
    except Exception:  # a name that exists for type checkers alone
        return {}


def value_faults(key: str, value: object, hint: Any = None) -> Iterator[str]:
    """Check the type and the range of a value.

    Args:
        key: the dotted key of the value.
        value: plain dicts, lists and scalars.
        hint: the annotation of the argument that receives it; None for a key of `KEYS`.

    Yields:
        At most one message, such as `data.batch_size=abc: must be an integer`.
    """
    if key.startswith("paths.") and value == "":
        yield f"{key} is empty: give a folder, {key}=. for the current one"
        return
    hint = KEYS.get(key, Any) if hint is None else hint
    if key not in LOOSE and (adapter := _adapter(_hashable(hint))) is not None:
        try:
            adapter.validate_python(value)
        except ValidationError:
            yield f"{key}={shown(value)}: must be {described(hint)} ({_page(key)})"
            return
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and key in RANGES and not _is_within(float(str(value)), RANGES[key]):
        yield f"{key}={shown(value)}: must be {_described_range(RANGES[key])} ({_page(key)})"


def described(hint: Any) -> str:
    """Describe a type in words.

    >>> described(int | None), described(Sequence[float]), described(Literal["a", "b"])
    ('an integer or null', 'a list of numbers', 'a or b')
    """
    members = _members(hint)
    typed = [part for part in members if _is_plain(part)]
    if any(part is not type(None) for part in typed):  # the others are objects, such as tensors
        members = typed
    parts = [_described_one(part) for part in members]
    return " or ".join(dict.fromkeys(parts))


def shown(value: object) -> str:
    """Format a value as on the command line, at most 60 characters."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        text = f"{{{', '.join(f'{key}: {shown(part)}' for key, part in value.items())}}}"
    elif isinstance(value, list | tuple):
        text = f"[{', '.join(map(shown, value))}]"
    else:
        text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _page(key: str) -> str:
    return f"see docs/{_PAGES.get(key.split('.')[0], 'configuration.md')}"


def _is_within(value: float, bounds: Bounds) -> bool:
    minimum, maximum = bounds
    return (minimum is None or value >= minimum) and (maximum is None or value <= maximum)


def _described_range(bounds: Bounds) -> str:
    minimum, maximum = bounds
    if maximum is None:
        return f">= {minimum}"
    return f"<= {maximum}" if minimum is None else f"from {minimum} to {maximum}"


def _members(hint: Any) -> list[Any]:
    """The alternatives of a union; another type alone."""
    hint = hint.type if isinstance(hint, InitVar) else hint
    if get_origin(hint) in (Union, types.UnionType):
        return [member for part in get_args(hint) for member in _members(part)]
    return _members(get_args(hint)[0]) if get_origin(hint) is Annotated else [hint]


def _described_one(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is type(None):
        return "null"
    if origin is Literal:
        return " or ".join(shown(value) for value in arguments)
    if origin is tuple and arguments[-1] is not Ellipsis:
        kinds = list(dict.fromkeys(map(described, arguments)))
        described_values = f"each {kinds[0]}" if len(kinds) == 1 else ", ".join(kinds)
        return f"a list of {len(arguments)} values, {described_values}"
    if origin is tuple or origin in _LISTS or hint in _LISTS:
        items = _PLURALS.get(arguments[0]) if arguments else None
        return f"a list of {items}" if items else "a list"
    if _is_mapping(hint):
        values = _PLURALS.get(arguments[1]) if arguments else None
        return f"a mapping whose values are {values}" if values else "a mapping"
    if hint is Path:
        return "a path"
    return _WORDS.get(hint) or "a mapping with a _target_"


def _is_plain(hint: Any) -> bool:
    """Whether values of a type can be written in YAML."""
    named = (int, float, bool, str, type(None), Path, tuple, dict, Mapping, *_LISTS)
    return hint in named or get_origin(hint) in (Literal, tuple, dict, Mapping, *_LISTS)


def _is_mapping(hint: Any) -> bool:
    return get_origin(hint) in (dict, Mapping) or hint in (dict, Mapping)


def _hashable(hint: Any) -> Any:
    """The hint if it can be a key of the cache, else Any, which is not checked."""
    try:
        hash(hint)
    except TypeError:
        return Any
    return hint


@lru_cache(maxsize=1024)
def _adapter(hint: Any) -> TypeAdapter[Any] | None:
    """The pydantic adapter that checks values of a type; None for a type that is not checked."""
    plain = _plain(hint)
    return None if plain is Any else TypeAdapter(plain)


def _plain(hint: Any) -> Any:
    """The type of the plain values that a configuration may have for an annotation.

    A number is accepted as text and an integer as a float; nothing else is converted. Any other
    class is a mapping with a `_target_`.
    """
    members = _members(hint)
    if len(members) > 1:
        plain = [_plain(member) for member in members]
        return Any if Any in plain else Union[tuple(plain)]  # noqa: UP007
    hint = members[0]
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in (int, float, bool):
        return Annotated[hint, Strict()]
    if hint is str or hint is Path:
        return _TEXT
    if hint is type(None) or origin is Literal:
        return hint
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return tuple.__class_getitem__(tuple(_plain(part) for part in arguments))
    if origin is tuple or origin in _LISTS:
        return list.__class_getitem__(_plain(arguments[0])) if arguments else list[Any]
    if _is_mapping(hint):
        key, value = map(_plain, arguments or (Any, Any))
        return dict.__class_getitem__((key, value))
    if hint in _LISTS or hint is tuple:
        return list[Any]
    loose = hint in (Any, object) or (inspect.isclass(hint) and issubclass(hint, Enum))
    return dict[str, Any] if inspect.isclass(hint) and origin is None and not loose else Any
