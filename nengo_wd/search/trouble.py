"""What goes wrong with the storage of a search, told without its passwords."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from typing import Iterator, NoReturn
from urllib.parse import unquote, unquote_plus

from nengo.exceptions import ValidationError
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from nengo_wd.search.asked import Asked

HIDDEN = "***"
OF_STORAGE = (StorageInternalError, SQLAlchemyError, sqlite3.Error)
# Values of a URL's query, or of a text with settings, and what stands between a user and the host.
IN_QUERY = re.compile(
    r"(?i)([^?&;=\s]*(?:pass|pwd|secret|token|key|cred)[^?&;=\s]*\s*=\s*)([^&]*)()"
)
OF_USER = re.compile(r"(?s)^((?:[\w+.-]+://)?[^:@]*:)(.*)(@)")


def file_name(search: str) -> str:
    """Return the name of the file that a search is kept in by default."""
    return f"{search}.db"


def in_folder(search: str) -> str:
    """Return how that file is named in errors."""
    return f"{file_name(search)} in the working folder"


def shown(asked: Asked) -> str:
    """Return how the storage of a search is named in errors."""
    if asked.embedded:
        return in_folder(asked.name)
    if isinstance(asked.storage, str):
        return without_secrets(asked.storage)
    return f"the {type(asked.storage).__name__}"


def without_secrets(text: str) -> str:
    """Return the URL of a storage without its passwords."""
    for rule in _rules(text):
        text = rule.sub(lambda match: f"{match.group(1)}{HIDDEN}{match.group(3)}", text)
    return text


def _rules(text: str) -> list[re.Pattern]:
    """Return what finds passwords: SQLite has no users, but paths with any signs."""
    return [IN_QUERY] if text.startswith("sqlite") else [IN_QUERY, OF_USER]


def _secrets(text: str) -> list[str]:
    """Return the passwords in the URL of a storage, as they are there and decoded."""
    found = [match.group(2) for rule in _rules(text) for match in rule.finditer(text)]
    return [spelled for one in found if one for spelled in (one, unquote(one), unquote_plus(one))]


@contextlib.contextmanager
def told(asked: Asked) -> Iterator[None]:
    """Say of errors at the opening of a storage which search and which storage they are about."""
    try:
        yield
    except (ValidationError, ImportError):
        raise
    except Exception as error:  # each kind of storage has its own
        if "database is locked" in str(error):
            _refuse(
                f"the search {asked.name!r} in {shown(asked)} is used by another process now; for "
                "several processes give n_jobs, and for several machines a storage that all of "
                "them reach",
                error,
                asked,
            )
        _refuse(
            f"the search {asked.name!r} can't be kept in {shown(asked)} ({_reason(error, asked)}); "
            "give a storage that can be reached and written to",
            error,
            asked,
        )


@contextlib.contextmanager
def told_later(asked: Asked) -> Iterator[None]:
    """Say of errors of a storage that was open which search and which storage they are about."""
    try:
        yield
    except OF_STORAGE as error:
        _refuse(
            f"the search {asked.name!r} can't be kept in {shown(asked)} any more "
            f"({_reason(error, asked)}); it was deleted, moved or overwritten while the search "
            "ran, or can't be reached or written to now",
            error,
            asked,
        )


def _reason(error: Exception, asked: Asked) -> str:
    """Return the kind of an error and its first line, without passwords."""
    reason = str(error.__cause__ or error).splitlines() or [""]
    return f"{type(error).__name__}: {_hide(reason[0], asked)}"


def _hide(text: str, asked: Asked) -> str:
    for secret in _secrets(asked.storage) if isinstance(asked.storage, str) else ():
        text = text.replace(secret, HIDDEN)
    return text


def _refuse(message: str, error: Exception, asked: Asked) -> NoReturn:
    """Raise, with the error that it comes of, unless a password is in that."""
    told_of: BaseException | None = error
    while told_of is not None and _hide(str(told_of), asked) == str(told_of):
        told_of = told_of.__cause__ or told_of.__context__
    raise ValidationError(message, attr="storage") from (None if told_of else error)
