"""The names by which regularizers are found: those of the public package."""

import importlib
import pickle

import pytest
import tensorflow as tf

import nengo_wd
from nengo_wd.regularizers import FiringRates, GroupLasso, Scheduled, TowardsGrid, TowardsInitial

EVERY = [
    FiringRates(10, 30, l2=0.5),
    GroupLasso(0.5, axis=(0, 1)),
    Scheduled(GroupLasso(0.5), 0.25),
    TowardsGrid(0.5, bits=3),
    TowardsInitial(0.25, 0.5),
]


def config(regularizer):
    """Return the arguments, of a regularizer that is scheduled as well."""
    inner = getattr(regularizer, "regularizer", None)
    return {**regularizer.get_config(), "regularizer": inner and config(inner)}


@pytest.mark.parametrize("regularizer", EVERY)
def test_configurations_are_taken(regularizer):
    again = type(regularizer).from_config(regularizer.get_config())
    assert config(again) == config(regularizer)


@pytest.mark.parametrize("regularizer", EVERY)
def test_pickles_name_the_public_package(regularizer):
    again = pickle.loads(pickle.dumps(regularizer))
    assert type(again) is type(regularizer) and config(again) == config(regularizer)
    assert type(regularizer).__module__ == "nengo_wd.regularizers"


@pytest.mark.generation(3)
@pytest.mark.parametrize("regularizer", EVERY)
def test_configurations_of_keras_name_the_public_package(regularizer):
    """Keras 2.13 and later keep the module, and find the class there."""
    saved = tf.keras.regularizers.serialize(regularizer)
    if "module" not in saved:  # older ones find it in a scope
        return
    assert saved["module"] == "nengo_wd.regularizers"
    again = tf.keras.utils.deserialize_keras_object(saved)
    assert type(again) is type(regularizer) and config(again) == config(regularizer)


@pytest.mark.parametrize("regularizer", EVERY)
def test_modules_of_older_pickles_are_found(regularizer):
    name = {
        "FiringRates": "firing_rates",
        "GroupLasso": "group_lasso",
        "Scheduled": "scheduled",
        "TowardsGrid": "grid",
        "TowardsInitial": "towards_initial",
    }[type(regularizer).__name__]
    module = importlib.import_module(f"nengo_wd.regularizers.{name}")
    assert getattr(module, type(regularizer).__name__) is type(regularizer)


def test_the_package_shows_its_regularizers():
    assert sorted(type(one).__name__ for one in EVERY) == nengo_wd.regularizers.__all__
