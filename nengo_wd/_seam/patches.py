"""Methods of others' classes that this package wraps, each once, also if modules are reloaded."""

from __future__ import annotations

import functools
import inspect
from typing import Any, Callable

RECORD = "_nengo_wd_wrapped"  # by which a wrapped method is known


def wrap(cls: type, name: str, key: str, around: Callable[[Any], Callable]) -> None:
    """Put another method around one of a class.

    Called again with the same key, as when a module is reloaded, the new method takes the place of
    that of before. Wrappers with other keys stay where they are.

    Parameters
    ----------
    cls : type
        The class.
    name : str
        The name of its method.
    key : str
        What tells this wrapper from others around the same method.
    around : callable
        What takes the method, as the class has it, and returns the one to put in its place.
    """
    current = inspect.getattr_static(cls, name)
    outermost, original, wrappers = getattr(current, RECORD, (current, current, {}))
    if outermost is not current:  # somebody else has wrapped it since
        if key in wrappers:
            return
        original, wrappers = current, {}
    wrappers = {**wrappers, key: around}
    method = original
    for one in wrappers.values():
        method = functools.wraps(original)(one(method))
    setattr(method, RECORD, (method, original, wrappers))
    setattr(cls, name, method)
