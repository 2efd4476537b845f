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

from nengo_wd.search import trials
from nengo_wd.search.asked import Asked
from nengo_wd.search.sampling import SeededSampler

RANGES = "ranges"  # the attribute of a study
HEARTBEAT, SILENCE = 10, 60  # seconds between heartbeats, and without any of them
TRIES = 10  # at creating what other machines create, too
BUSY = 60  # seconds to wait while another process writes to a file


@contextlib.contextmanager
def opened(asked: Asked) -> Iterator[tuple[optuna.Study, BaseStorage]]:
    """Give the study of a search, and its storage."""
    with contextlib.ExitStack() as stack:
        if asked.embedded:
            stack.enter_context(_alone(asked.name))
        stack.enter_context(_quiet())
        storage, study = _open(asked)
        _check(study, asked)
        if asked.embedded:
            trials.try_running_again(study)
        yield study, storage


@contextlib.contextmanager
def _alone(name: str) -> Iterator[None]:
    """See to it that no other process is busy with the file of a search.

    SQLite's lock is on all systems, and ends with its process, however that ends.
    """
    path = _file(name) + ".lock"
    shown = f"{_file(name)} in the working folder"
    with _told_of_trouble(name, shown):
        lock = sqlite3.connect(path, timeout=0)
    with contextlib.closing(lock):
        with _told_of_trouble(name, shown):
            lock.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows keeps it
                os.remove(path)


def _file(name: str) -> str:
    return f"{name}.db"


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
    with _told_of_trouble(asked.name, _shown(asked)):
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
    study = optuna.create_study(
        storage=storage,
        sampler=sampler,
        pruner=asked.pruner,
        study_name=asked.name,
        direction="minimize",
        load_if_exists=True,
    )
    study.set_user_attr("n_trials", asked.n_trials)  # which shows whether it can be written to
    return storage, study


@contextlib.contextmanager
def _told_of_trouble(name: str, shown: str) -> Iterator[None]:
    """Say of errors which search and which storage they are about."""
    try:
        yield
    except (ValidationError, ImportError):
        raise
    except Exception as error:  # each kind of storage has its own
        if "database is locked" in str(error):
            raise ValidationError(
                f"the search {name!r} in {shown} is used by another process now; for several "
                "processes give n_jobs, and for several machines a storage that all of them reach",
                attr="storage",
            ) from error
        reason = str(error.__cause__ or error).splitlines()[0]
        raise ValidationError(
            f"the search {name!r} can't be kept in {shown} ({type(error).__name__}: {reason}); "
            "give a storage that can be reached and written to",
            attr="storage",
        ) from error


def _shown(asked: Asked) -> str:
    """Return how a storage is named in errors, without a password."""
    if asked.embedded:
        return f"{_file(asked.name)} in the working folder"
    if not isinstance(asked.storage, str):
        return f"the {type(asked.storage).__name__}"
    address, at, place = asked.storage.rpartition("@")
    return address.rpartition(":")[0] + ":***@" + place if at else place


def _storage(asked: Asked) -> BaseStorage:
    given = asked.storage
    if given is None:
        timeout = {"connect_args": {"timeout": BUSY}}
        return RDBStorage(f"sqlite:///{_file(asked.name)}", engine_kwargs=timeout)
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
    raise ValidationError(f"storage={storage!r} can't keep a search: {why}", attr="storage")


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
