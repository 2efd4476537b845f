"""The storage of a search: how it is opened and checked, and shown in errors without passwords."""

from __future__ import annotations

import contextlib
import os
import random
import re
import sqlite3
import time
import warnings
from typing import Any, Iterator
from urllib.parse import unquote, unquote_plus, urlsplit

import optuna
from nengo.exceptions import ValidationError
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, GrpcStorageProxy, InMemoryStorage, RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from nengo_wd.search import trials
from nengo_wd.search.request import Request

RANGES = "ranges"  # the attribute of a study
HEARTBEAT, GRACE_PERIOD = 10, 60  # seconds between heartbeats, and until a machine counts as dead
TRIES = 10  # to create a study that other machines also create
BUSY_TIMEOUT = 60  # seconds to wait while another process writes to a file
STORAGE_ERRORS = (StorageInternalError, SQLAlchemyError, sqlite3.Error)  # of an open storage

UNREACHABLE = "can't be kept in {} ({}); give a storage that can be reached and written to"
LOST = (
    "can't be kept in {} any more ({}); it was deleted, moved or overwritten while the search ran, "
    "or can't be reached or written to now"
)
IN_USE = (
    "in {} is used by another process now; for several processes give n_jobs, and for several "
    "machines a storage that all of them reach"
)

HIDDEN = "***"
# The passwords in a URL's query or in a text with settings, and the one between user and host.
IN_QUERY = re.compile(
    r"(?i)([^?&;=\s]*(?:pass|pwd|secret|token|key|cred)[^?&;=\s]*\s*=\s*)([^&]*)()"
)
OF_USER = re.compile(r"(?s)^((?:[\w+.-]+://)?[^:@]*:)(.*)(@)")


@contextlib.contextmanager
def opened(request: Request) -> Iterator[optuna.Study]:
    """Give the study of a search, in its storage."""
    _check_kind("sampler", request.sampler, optuna.samplers.BaseSampler, "TPESampler")
    _check_kind("pruner", request.pruner, optuna.pruners.BasePruner, "MedianPruner")
    with contextlib.ExitStack() as stack:
        if request.storage is None:
            stack.enter_context(_locked(request))
        stack.enter_context(_quiet())
        with _explained(request, UNREACHABLE):
            study = _study(request)
        with _explained(request, LOST, STORAGE_ERRORS):
            _check_study(study, request)
            if request.storage is None:  # no other process can be running these
                for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                    trials.try_again(study, trial.number)
            yield study


def _check_kind(attr: str, given: Any, kind: type, example: str) -> None:
    """Raise if an argument is not one of Optuna's objects: if it is a name or a class."""
    if given is not None and not isinstance(given, kind):
        is_class = isinstance(given, type) and issubclass(given, kind)
        fault = "a class" if is_class else f"not an optuna {kind.__name__}"
        told = f"{attr}={given!r} is {fault}; give an instance, such as optuna.{attr}s.{example}()"
        raise ValidationError(told, attr=attr)


@contextlib.contextmanager
def _locked(request: Request) -> Iterator[None]:
    """Keep other processes from the file of a search, until this process ends or dies."""
    with contextlib.ExitStack() as stack:
        with _explained(request, UNREACHABLE):
            path = f"{request.file_name}.lock"
            lock = stack.enter_context(contextlib.closing(sqlite3.connect(path, timeout=0)))
            path = os.path.abspath(path)  # train may change the working folder
            lock.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows keeps open files
                os.remove(path)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide Optuna's messages on each trial, and its warnings of heartbeats."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _study(request: Request, tries: int = TRIES) -> optuna.Study:
    """Return the study; try again if another machine creates it at the same time."""
    try:
        storage = _storage(request)
        optuna.create_study(storage=storage, study_name=request.name, load_if_exists=True)
        sampler = request.sampler if request.seed is None else trials.SeededSampler(request.seed)
        study = trials.Study(request.name, storage, sampler, request.pruner)
        study.set_user_attr("n_trials", request.n_trials)  # raises if the storage is read-only
        return study
    except Exception as error:
        if tries == 1 or "already exists" not in f"{error} {error.__cause__}":
            raise
    time.sleep(random.random())
    return _study(request, tries - 1)


def _storage(request: Request) -> BaseStorage:
    """Return the storage of a request, or raise if it can't keep a search."""
    given = request.storage
    if given is None:
        timeout = {"connect_args": {"timeout": BUSY_TIMEOUT}}
        return RDBStorage(f"sqlite:///{request.file_name}", engine_kwargs=timeout)
    if isinstance(given, InMemoryStorage) and request.n_processes:
        _refuse("memory of this process can't be shared with others", given)
    if isinstance(given, BaseStorage):
        return given
    if not isinstance(given, str) or "://" not in given:
        _refuse("it is neither a URL, such as 'sqlite:///search.db', nor a storage", given)
    if given.startswith("grpc://"):
        place = urlsplit(given)
        return GrpcStorageProxy(host=place.hostname or "localhost", port=place.port or 13000)
    retry = optuna.storages.RetryHeartbeatStaleTrialCallback(trials.MAX_RETRIES)
    heart: Any = {"heartbeat_interval": HEARTBEAT, "grace_period": GRACE_PERIOD}
    return RDBStorage(given, **heart, heartbeat_stale_trial_callback=retry)


def _refuse(why: str, storage: Any) -> None:
    shown = _without_passwords(storage) if isinstance(storage, str) else storage
    raise ValidationError(f"storage={shown!r} can't keep a search: {why}", attr="storage")


def _check_study(study: optuna.Study, request: Request) -> None:
    """Raise if the study in the storage belongs to another search; save the ranges in it."""
    what, remedy = f"the search {request.name!r} in the storage", "give the search another name"
    if study.directions != [optuna.study.StudyDirection.MINIMIZE]:
        raise ValidationError(f"{what} does not minimize one error; {remedy}", attr="name")
    known = set(study.user_attrs.get(RANGES, ()))
    known = known or {name for t in study.get_trials(deepcopy=False) for name in t.params}
    if known and known != set(request.ranges):
        fault = f"is over {sorted(known)}, not over {sorted(request.ranges)}"
        raise ValidationError(f"{what} {fault}; {remedy}", attr="ranges")
    study.set_user_attr(RANGES, request.ranges)


@contextlib.contextmanager
def _explained(
    request: Request, fault: str, kinds: tuple[type[Exception], ...] = (Exception,)
) -> Iterator[None]:
    """Raise errors as ValidationErrors that name the search and its storage."""
    try:
        yield
    except (ValidationError, ImportError):
        raise
    except kinds as error:  # each kind of storage has its own
        if fault == UNREACHABLE and "database is locked" in str(error):
            fault = IN_USE
        reason = (str(error.__cause__ or error).splitlines() or [""])[0]
        told = fault.format(_place(request), f"{type(error).__name__}: {_hide(reason, request)}")
        message, cause = f"the search {request.name!r} {told}", _shown_cause(error, request)
        raise ValidationError(message, attr="storage") from cause


def _place(request: Request) -> str:
    if request.storage is None:
        return f"{request.file_name} in the working folder"
    if isinstance(request.storage, str):
        return _without_passwords(request.storage)
    return f"the {type(request.storage).__name__}"


def _shown_cause(error: Exception, request: Request) -> Exception | None:
    """Return an error to be shown as a cause; None if its text or a cause's has a password."""
    told: BaseException | None = error
    while told is not None:
        if _hide(str(told), request) != str(told):
            return None
        told = told.__cause__ or told.__context__
    return error


def _hide(text: str, request: Request) -> str:
    """Return a text without the storage's passwords, encoded as in its URL or decoded."""
    url = request.storage if isinstance(request.storage, str) else ""
    for secret in (match.group(2) for rule in _rules(url) for match in rule.finditer(url)):
        for spelled in (secret, unquote(secret), unquote_plus(secret)) if secret else ():
            text = text.replace(spelled, HIDDEN)
    return text


def _without_passwords(url: str) -> str:
    for rule in _rules(url):
        url = rule.sub(lambda match: f"{match.group(1)}{HIDDEN}{match.group(3)}", url)
    return url


def _rules(url: str) -> list[re.Pattern]:
    """Return the patterns of passwords; SQLite has no users, and its paths may have any signs."""
    return [IN_QUERY] if url.startswith("sqlite") else [IN_QUERY, OF_USER]
