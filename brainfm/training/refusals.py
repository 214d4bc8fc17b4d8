"""What jsonargparse says about a wrong configuration, as one sentence that names the key."""

import difflib
import re
from collections.abc import Iterable

from brainfm.errors import ContractError, DataError

_NOISE = ("Does not validate", "Expected a <class 'NoneType'>", "Problem with given", "Errors:")


class ConfigError(ValueError):
    """A configuration that cannot be built; one sentence."""


def explain(error: BaseException, classes: Iterable[str] = ()) -> str:
    """The cause and the key, from an error of parsing or building a configuration.

    Parameters
    ----------
    error : raised by jsonargparse, or by a constructor it called
    classes : short names a `class_path` may have, to suggest the one that was meant
    """
    chained: BaseException | None = error
    while chained is not None:
        if isinstance(chained, ContractError | DataError):
            return _flat(str(chained))
        chained = chained.__cause__ or chained.__context__
    text = str(error).split("Given value type:")[0]
    path = ".".join(re.findall(r'[Pp]arser key "([^"]+)"', text))
    if m := re.search(r"[Oo]ption '([^']+)' is not accepted", text):
        return f"unknown key '{path + '.' if path else ''}{m[1]}'"
    if m := re.search(r"does not accept (?:nested )?option '([^']+)'", text):
        return f"unknown key '{m[1]}'"
    if m := re.search(r"Expected a dot import path string: (\S+)", text):
        return f"{path}.class_path: there is no class '{m[1]}'{_meant(m[1], classes)}"
    if m := re.search(r"Expected a <class '(\w+)'>\. Got value: (.+)", text):
        return f"{path} must be {_A[m[1]]}, but is '{m[2].strip()}'{_unit(path, m[1])}"
    causes = [c.lstrip(" -") for c in text.splitlines()]
    causes = [c for c in causes if c and not c.startswith((*_NOISE, "Subtypes", "Parser key"))]
    if path and not causes:
        causes = [text.rsplit(f'"{path.rsplit(".", 1)[-1]}":', 1)[-1]]
    return _flat(f"{path}: {causes[0]}" if path and causes else (causes or [text])[0])


def _flat(text: str) -> str:
    return " ".join(text.split())


class _Articles(dict):
    def __missing__(self, key: str) -> str:
        return f"a {key}"


_A = _Articles(
    {"float": "a number", "int": "a whole number", "str": "text", "bool": "true or false"}
)
_UNITS = {"_s": "seconds", "_hz": "Hz", "_steps": "optimiser steps"}


def _unit(path: str, kind: str) -> str:
    """What a number counts, where the key's name ends in a unit."""
    unit = next((u for end, u in _UNITS.items() if path.endswith(end)), None)
    return f"; give it in {unit}, without a unit" if unit and kind in ("float", "int") else ""


def _meant(name: str, classes: Iterable[str]) -> str:
    known = sorted(set(classes))
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean '{close[0]}'?" if close else ""
