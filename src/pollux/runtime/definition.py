"""What a definition's name stands for: `package.module:Name` or `file.py:Name`. Imports the twin's code, and so JAX."""

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from pollux.core.errors import InputError, PolluxError
from pollux.runtime.tables import closest


def made(definition: str, folder: Path = Path()) -> Any:
    """The object that `definition` names, called when it is a class or a function; files are looked for in `folder`.

    Raises `InputError` that says what is wrong with the name, the file or its code; Pollux's own errors pass.
    """
    from pollux.core.twin import Twin

    place, colon, name = definition.rpartition(":")
    if not colon or not place or not name:
        raise InputError(f"A twin is named as `module:Name` or `file.py:Name`, received {definition!r}")
    module = _module(place, folder)
    if not hasattr(module, name):
        twins = sorted(
            n for n, v in vars(module).items() if inspect.isclass(v) and issubclass(v, Twin) and v is not Twin
        )
        public = [n for n in vars(module) if not n.startswith("_")]
        raise InputError(f"{place!r} has no {name!r}; it has the twins {twins or 'none'}. {closest(name, public)}")
    found = getattr(module, name)
    try:
        return found() if inspect.isclass(found) or inspect.isfunction(found) else found
    except PolluxError:
        raise
    except Exception as error:
        raise InputError(f"{definition!r} cannot be made ({type(error).__name__}: {error}); correct its code") from None


def _module(place: str, folder: Path) -> ModuleType:
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        path = folder / place
        if not path.is_file():
            raise InputError(f"There is no file {str(path)!r}; give the path of the twin's file")
        spec = importlib.util.spec_from_file_location(f"pollux_twin_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up by name
        spec.loader.exec_module(module)
        return module
    except PolluxError:
        raise
    except Exception as error:
        where = _line(error, place)
        raise InputError(f"{place!r} cannot be loaded{where} ({type(error).__name__}: {error}); correct it") from None


def _line(error: Exception, place: str) -> str:
    """Line of the twin's own file at which it failed."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f", line {error.lineno}"
    step, found = error.__traceback__, ""
    while step is not None:
        if Path(step.tb_frame.f_code.co_filename).name == Path(place).name:
            found = f", line {step.tb_lineno}"
        step = step.tb_next
    return found
