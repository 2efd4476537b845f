"""Tables as pandas data frames; pandas is optional."""

from __future__ import annotations

from typing import Any


def frame(rows: Any, **kwargs: Any) -> Any:
    """Return rows as a ``pandas.DataFrame``; ``kwargs`` go to its class.

    Raises
    ------
    ImportError
        If pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError("to_frame needs pandas: pip install pandas") from error

    return pandas.DataFrame(rows, **kwargs)
