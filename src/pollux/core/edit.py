"""Another value for some parameters of a twin."""

from collections.abc import Mapping
from difflib import get_close_matches
from math import isfinite
from typing import Any, TypeVar

import equinox as eqx

from pollux.core.errors import DefinitionError
from pollux.core.twin import META, ParamInfo, Twin

T = TypeVar("T", bound=Twin)


def with_parameters(twin: T, values: Mapping[str, Any]) -> T:
    """A copy of `twin` with the named parameters changed; a parameter of a part is named `part.parameter`.

    Raises `DefinitionError` for an unknown name, a value that is not a finite number, or one outside its bounds.
    """
    for path, value in values.items():
        *parts, name = path.split(".")
        node: Any = twin
        for part in parts:
            node = getattr(node, part, None)
        field = getattr(type(node), "__dataclass_fields__", {}).get(name)
        info = field.metadata.get(META) if field is not None else None
        if not isinstance(info, ParamInfo):
            known = [n for n, f in type(twin).__dataclass_fields__.items() if META in f.metadata]
            near = get_close_matches(path, known, n=1)
            raise DefinitionError(
                f"`{type(twin).__name__}` has no parameter {path!r}" + (f"; did you mean {near[0]!r}?" if near else "")
            )
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise DefinitionError(f"Parameter {path!r} needs a finite number, received {value!r}")
        if not info.low <= value <= info.high:
            raise DefinitionError(f"Parameter {path!r} lies within ({info.low:g}, {info.high:g}), received {value!r}")
        twin = eqx.tree_at(lambda t, parts=parts, name=name: _get(t, [*parts, name]), twin, float(value))
    return twin


def _get(node: Any, path: list[str]) -> Any:
    for name in path:
        node = getattr(node, name)
    return node
