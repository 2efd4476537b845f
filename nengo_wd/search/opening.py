"""The study of a search: opened in its storage, and checked."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import time
import warnings
from typing import Any, Iterator
from urllib.parse import urlsplit

import optuna
from nengo.exceptions import ValidationError
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, GrpcStorageProxy, InMemoryStorage, RDBStorage

from nengo_wd.search import trials, trouble
from nengo_wd.search.asked import Asked
from nengo_wd.search.sampling import SeededSampler
from nengo_wd.search.study import Study

RANGES = "ranges"  # the attribute of a study
HEARTBEAT, SILENCE = 10, 60  # seconds between heartbeats, and without any of them
TRIES = 10  # at creating what other machines create, too
BUSY = 60  # seconds to wait while another process writes to a file


@contextlib.contextmanager
def opened(asked: Asked) -> Iterator[tuple[optuna.Study, BaseStorage]]:
    """Give the study of a search, and its storage."""
    _check_kind("sampler", asked.sampler, optuna.samplers.BaseSampler, "TPESampler")
    _check_kind("pruner", asked.pruner, optuna.pruners.BasePruner, "MedianPruner")
    with contextlib.ExitStack() as stack:
        if asked.embedded:
            stack.enter_context(_alone(asked))
        stack.enter_context(_quiet())
        storage, study = _open(asked)
        with trouble.told_later(asked):
            _check(study, asked)
            if asked.embedded:
                trials.try_running_again(study)
            yield study, storage


def _check_kind(attr: str, given: Any, kind: type, example: str) -> None:
    """Raise if an argument is not one of Optuna's objects, such as a name or a class of them."""
    if given is None or isinstance(given, kind):
        return
    is_class = isinstance(given, type) and issubclass(given, kind)
    fault = (
        "is a class; give an instance"
        if is_class
        else f"is not an optuna {kind.__name__}; give one"
    )
    raise ValidationError(
        f"{attr}={given!r} {fault}, such as optuna.{attr}s.{example}()", attr=attr
    )


@contextlib.contextmanager
def _alone(asked: Asked) -> Iterator[None]:
    """See to it that no other process is busy with the file of a search.

    SQLite's lock is on all systems, and ends with its process, however that ends.
    """
    with trouble.told(asked):
        path = trouble.file_name(asked.name) + ".lock"
        lock = sqlite3.connect(path, timeout=0)
        path = os.path.abspath(path)  # as train may change the working folder
    with contextlib.closing(lock):
        with trouble.told(asked):
            lock.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows keeps it
                os.remove(path)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's lines for each trial out of the progress bar, and quiet about heartbeats."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _open(asked: Asked) -> tuple[BaseStorage, optuna.Study]:
    sampler = asked.sampler if asked.seed is None else SeededSampler(asked.seed)
    with trouble.told(asked):
        for _ in range(TRIES - 1):
            try:
                return _create(asked, sampler)
            except Exception as error:  # another machine may create the same at the same time
                if "already exists" not in f"{error} {error.__cause__}":
                    raise
                time.sleep(random.random())
        return _create(asked, sampler)


def _create(asked: Asked, sampler: Any) -> tuple[BaseStorage, optuna.Study]:
    storage = _storage(asked)
    optuna.create_study(
        storage=storage, study_name=asked.name, direction="minimize", load_if_exists=True
    )
    study = Study(asked.name, storage, sampler, asked.pruner)
    study.set_user_attr("n_trials", asked.n_trials)  # which shows whether it can be written to
    return storage, study


def _storage(asked: Asked) -> BaseStorage:
    given = asked.storage
    if given is None:
        timeout = {"connect_args": {"timeout": BUSY}}
        return RDBStorage(f"sqlite:///{trouble.file_name(asked.name)}", engine_kwargs=timeout)
    if isinstance(given, InMemoryStorage) and asked.n_processes:
        _refuse("memory of this process can't be shared with others", given)
    if isinstance(given, BaseStorage):
        return given
    if not isinstance(given, str) or "://" not in given:
        _refuse("it is neither a URL, such as 'sqlite:///search.db', nor a storage", given)
    if given.startswith("grpc://"):
        place = urlsplit(given)
        return GrpcStorageProxy(host=place.hostname or "localhost", port=place.port or 13000)
    return RDBStorage(
        given,
        heartbeat_interval=HEARTBEAT,
        grace_period=SILENCE,
        heartbeat_stale_trial_callback=trials.again(),
    )


def _refuse(why: str, storage: Any) -> None:
    shown = trouble.without_secrets(storage) if isinstance(storage, str) else storage
    raise ValidationError(f"storage={shown!r} can't keep a search: {why}", attr="storage")


def _check(study: optuna.Study, asked: Asked) -> None:
    """Raise if a study that was there is another one; keep the ranges."""
    if study.directions != [optuna.study.StudyDirection.MINIMIZE]:
        raise ValidationError(
            f"the search {asked.name!r} that the storage holds does not minimize one error; give "
            "the search another name",
            attr="name",
        )
    known = set(study.user_attrs.get(RANGES, ()))
    known = known or {name for t in study.get_trials(deepcopy=False) for name in t.params}
    if known and known != set(asked.ranges):
        raise ValidationError(
            f"the search {asked.name!r} that the storage holds is over {sorted(known)}, not over "
            f"{sorted(asked.ranges)}; give the search another name",
            attr="ranges",
        )
    study.set_user_attr(RANGES, asked.ranges)
