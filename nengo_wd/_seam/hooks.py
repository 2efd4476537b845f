"""All that this package changes in classes, modules and objects of other libraries.

`CHANGES` lists attributes of classes and modules, and `OBJECTS` attributes of single objects.
`install` makes the permanent changes once, even if modules are reloaded. `replaced` makes a change
inside a with block. The tables name functions by strings, ``"module:name"``, because most of these
modules import this one. Each call looks the name up, so modules can be reloaded.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import warnings
from importlib import import_module
from operator import attrgetter
from typing import Any, Callable, Iterator, NamedTuple

import nengo
import tensorflow as tf
from nengo.exceptions import ConfigError

from nengo_wd._seam import state


class Change(NamedTuple):
    """A change of an attribute of a class or module."""

    place: str  # the attribute
    # What makes the change. For a method: the function that is called instead, with the bound
    # method, what `calls` names, the instance and the arguments. For others: the new value.
    by: str
    why: str  # what the change is for
    versions: str = ""  # the package and its major version that need the change; empty for all
    calls: str = ""  # what a wrapper calls downstream of the seam
    only: str = ""  # the function that tells for which instances a wrapper is used; empty for all


SIMULATOR, GRAPH = "nengo_dl.simulator:Simulator", "nengo_dl.tensor_graph:TensorGraph"
SIGNALS, NODE = "nengo_dl.signals:SignalDict", "nengo_dl.tensor_node:SimTensorNodeBuilder"
NEURON, PROCESS = "nengo_dl.neuron_builders:SimNeuronsBuilder", "nengo_dl.process_builders"
CONVOLUTION = "nengo_dl.transform_builders:ConvIncBuilder"
SPARSE = "nengo_dl.op_builders:SparseDotIncBuilder"
SCIPY, NODES = "nengo._vendor.scipy.sparse.linalg", "nengo_dl.tensor_node"
WRAPPERS, SETTINGS = "nengo_wd._seam:simulators", "nengo_wd.settings"
COMPILED = "nengo_wd._seam.nengo_dl3.compiled"
ARRAYS, NEURONS, OPERATORS, PROCESSES, RANDOM, WINDOWS = (
    f"nengo_wd._seam.nengo_dl3.builders.{module}"
    for module in ("arrays", "neurons", "operators", "processes", "random_numbers", "windows")
)
HOOKS, BRIDGE, STATE = (f"nengo_wd._seam.{module}" for module in ("hooks", "bridge", "state"))
XLA, WHOLE = f"{STATE}:is_compiling", f"{STATE}:is_compiled_whole"
DRAWS, EITHER = f"{STATE}:draws", f"{STATE}:compiles_or_draws"
FOR_SPIKES, OTHERWISE = f"{STATE}:for_spikes", f"{STATE}:checks_otherwise"
STEPS, LACKS_INPUTS = "tells XLA the number of steps", f"{STATE}:lacks_inputs"
# Its methods: prepare(sim), after a simulator is made; check(sim, objective, optimizer) before and
# compiled(...) after it is compiled, with None for a missing argument; before_training(sim,
# callbacks) and check_shown(sim, data, n_steps); concerns(network), before its layers are built
# again; expect_spikes(graph), before neurons are built for training; and woken(graph, recorded).
WATCHER = "nengo_wd._simulators:Watcher"
DL2, DL3 = "nengo_dl 2", "nengo_dl 3"

WRAPPED = (  # methods, by `install`
    Change(f"{SIMULATOR}.__init__", f"{WRAPPERS}._make", "replaces defaults", "", WATCHER),
    Change(f"{SIMULATOR}.compile", f"{WRAPPERS}._compile", "makes penalties count", DL3, WATCHER),
    Change(f"{SIMULATOR}.fit", f"{WRAPPERS}._fit", "warns of idle settings", DL3, WATCHER),
    Change(f"{SIMULATOR}.evaluate", f"{WRAPPERS}._evaluate", "takes weights by probe", DL3),
    Change(f"{SIMULATOR}.train", f"{WRAPPERS}._train", "makes penalties count", DL2, WATCHER),
    Change(f"{SIMULATOR}.loss", f"{WRAPPERS}._loss", "checks the objective", DL2, WATCHER),
    Change(f"{SIMULATOR}.save_params", f"{HOOKS}:_save_params", "warns of what it leaves out"),
    Change(f"{GRAPH}.build", f"{WRAPPERS}._build", "keeps and saves layers", DL3, WATCHER),
    Change(f"{GRAPH}._build_inner_loop", f"{WRAPPERS}._build_loop", "wakes neurons", DL3, WATCHER),
    Change(f"{GRAPH}.build_step", f"{WRAPPERS}._build_step", "wakes neurons", DL2, WATCHER),
    Change(f"{NODES}:TensorFuncParam.coerce", "nengo_wd._seam:layers._coerce", "shows errors", DL3),
    Change(
        f"{PROCESS}:LinearFilterBuilder.build_pre", f"{BRIDGE}:build_filter", "fits Nengo 4", DL3
    ),
    Change("nengo.synapses:Synapse.filt", f"{BRIDGE}:filter_data", "takes 1-D data", "numpy 2"),
    Change(
        f"{NEURON}.build_step", f"{WRAPPERS}._build_neurons", "trains for spikes", only=FOR_SPIKES
    ),
    Change("nengo.config:ClassParams.get_param", f"{SETTINGS}:explain_error", "explains its error"),
    Change("nengo.config:Config.__getitem__", f"{HOOKS}:_settings_of", "explains its error"),
)
COMPILING = (  # methods, by `install`: for XLA, and for what runs in TensorFlow where NengoDL can't
    Change(f"{GRAPH}.build_inputs", f"{COMPILED}:_build_inputs", STEPS, DL3, "", LACKS_INPUTS),
    Change(f"{SIMULATOR}._check_data", f"{COMPILED}:_check_data", STEPS, DL3, "", WHOLE),
    Change(f"{GRAPH}._build_loop", f"{COMPILED}:_build_loop", "compiles it", DL3, "", EITHER),
    Change(f"{SIMULATOR}.check_gradients", f"{COMPILED}:_check", "of rates", DL3, "", OTHERWISE),
    Change(f"{SIGNALS}.gather", f"{ARRAYS}:_gather", "reads by slices", DL3, "", XLA),
    Change(f"{SIGNALS}.scatter", f"{ARRAYS}:_scatter", "writes by slices", DL3, "", XLA),
    # Convolutions become windows, which are fast; XLA lacks the product with a sparse matrix.
    Change(f"{NODE}.build_step", f"{WINDOWS}:_build_tensor_node", "windows", DL3, "", XLA),
    Change(f"{CONVOLUTION}.build_step", f"{WINDOWS}:_build_conv_inc", "windows", DL3, "", XLA),
    Change(f"{SPARSE}.build_step", f"{OPERATORS}:_build_sparse", "product", DL3, "", XLA),
    Change(f"{PROCESS}:SimProcessBuilder.__init__", f"{PROCESSES}:_init", "in TensorFlow", DL3),
    Change(f"{GRAPH}._build_no_loop", f"{COMPILED}:_build_loop", "seeds them", DL3, "", DRAWS),
    Change(f"{GRAPH}.build_post", f"{RANDOM}:_build_post", "draws anew", DL3, "", DRAWS),
)
SET = (  # attributes, by `install`
    Change("nengo_dl.utils:__getattr__", f"{BRIDGE}:look_for_gpu", "tf_gpu_installed, if asked"),
    # Nengo 4 sets size_in of copies first, which NengoDL computes from the shape.
    Change(f"{NODES}:TensorNode._param_init_order", f"{BRIDGE}:NO_ORDER", "copies nodes", DL3),
    # These run in TensorFlow, and those that draw random numbers are seeded.
    Change(f"{NEURON}.TF_NEURON_IMPL", f"{NEURONS}:IMPLEMENTATIONS", "more neurons", DL3),
    *(
        Change(f"{SCIPY}_{module}:np", f"{BRIDGE}:NUMPY_1", "uses what NumPy 2 removed", "numpy 2")
        for module in ("interface", "expm", "onenormest")
    ),
)
LATER = tuple(  # attributes, by `install` if the module is imported, or when it is imported
    Change(f"nengo_loihi.{module}:np", f"{BRIDGE}:NUMPY_1", "was written for NumPy 1", "numpy 2")
    for module in ("block", "dvs", "neurons")
)
LMU = "keras_lmu.layers"  # finds Keras 2 while it is imported
LATE = {LMU, *(change.place.partition(":")[0] for change in LATER)}
TEMPORARY = (  # inside a with block
    Change("subprocess:call", f"{BRIDGE}:without_second_python", "imports NengoDL faster"),
    Change("sys:modules", f"{BRIDGE}:standing_in", "others import from Keras", "tensorflow 2"),
    Change("warnings:filters", f"{BRIDGE}:bridged", "NengoDL does not know Nengo 4", DL3),
    Change("nengo.synapses:LinearFilter.Step.__init__", f"{BRIDGE}:build_filter", "see above", DL3),
    Change("nengo_dl.converter:Simulator", "nengo_wd.converter:Converter.verify", "penalties", DL3),
)
AT_IMPORT = (  # by the bridge, before and after it imports NengoDL
    Change("os:environ", f"{BRIDGE}:choose_keras_2", "TensorFlow chooses Keras 2", "tensorflow 2"),
    Change("sys:meta_path", f"{BRIDGE}:watch_imports", "learns when to make changes in LATER"),
    Change("tensorflow:__path__", f"{BRIDGE}:choose_keras_2", "the same", "tensorflow 2"),
    Change("nengo_dl.utils:tf_gpu_installed", f"{BRIDGE}:bridged", "deletes it: see SET"),
)
CHANGES = (*WRAPPED, *COMPILING, *SET, *LATER, *TEMPORARY, *AT_IMPORT)

# Attributes of single objects: the objects, the names, and what the attributes are for.
OBJECTS = (
    ("simulators, layers, graphs", state.ATTRIBUTE, "their record, see `state`"),
    ("builders of neurons", state.ATTRIBUTE, "how neurons are trained, see `builders`"),
    ("functions in the place of methods", state.ATTRIBUTE, "`install` knows them by it"),
    ("TensorGraphs", "_nengo_wd_params", "Keras saves what attributes refer to"),
    ("TensorGraphs", "_nengo_wd_layers", "the same, for layers of TensorNodes"),
    ("TensorGraphs", "_nengo_wd_initial", "the same, for initial values"),
    ("TensorGraphs", "call", "adds the penalties on what probes record"),
    ("TensorGraphs", "_build_inner_loop", "NengoDL's own, while signals are measured"),
    ("Keras models of simulators", "compute_metrics", "shows these penalties"),
    ("Keras models of simulators", "evaluate", "returns a list if probes have no losses"),
    ("operators of TensorNodes", "func", "a stand-in for a layer that is built again"),
    ("layers in TensorNodes", "convolution_op", "windows, while XLA's time loop is built"),
    ("layers", "_callable_losses", "with penalties that know the training step, without others"),
    ("initializers", "_used", "prevents a warning of Keras when a layer is built again"),
    ("optimizers", "__class__", "extends their own class by steps, and by nengo_wd_*"),
)


def install() -> None:
    """Make the permanent changes that the installed versions need and that are not made yet."""
    imported = [change for change in LATER if change.place.partition(":")[0] in sys.modules]
    for change in filter(_is_needed, (*WRAPPED, *COMPILING, *SET, *imported)):
        with contextlib.suppress(ModuleNotFoundError):  # of a module that these versions lack
            owner, name = _owner(change.place)
            if change in SET or change in LATER:
                setattr(owner, name, _resolve(change.by))
            else:
                _wrap(change, owner, name)


def _is_needed(change: Change) -> bool:
    package, _, major = change.versions.partition(" ")
    return not package or import_module(package).__version__.startswith(f"{major}.")


def _owner(place: str) -> tuple[Any, str]:
    """Return the object that has an attribute, and the attribute's name."""
    end = max(place.rfind(":"), place.rfind("."))
    return _resolve(place[:end]), place[end + 1 :]


def _resolve(name: str) -> Any:
    """Return the object that a name refers to now."""
    module, _, path = name.partition(":")
    found = sys.modules.get(module) or import_module(module)
    return attrgetter(path)(found) if path else found


def _wrap(change: Change, owner: Any, name: str) -> None:
    """Put a function that calls the wrapper in the place of a method."""
    method = inspect.getattr_static(owner, name)
    if hasattr(method, state.ATTRIBUTE):  # it is wrapped, perhaps by others as well since then
        return

    @functools.wraps(method)
    def hooked(self: Any, *args: Any, **kwargs: Any) -> Any:
        bound = method.__get__(self, type(self))
        if change.only and not _resolve(change.only)(self):
            return bound(*args, **kwargs)
        called = [_resolve(change.calls)] if change.calls else []
        return _resolve(change.by)(bound, *called, self, *args, **kwargs)

    setattr(hooked, state.ATTRIBUTE, change)
    setattr(owner, name, hooked)


class Watch:
    """A finder for modules that need the bridge's help when they are imported."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the spec of such a module, and None for others."""
        return _resolve(f"{BRIDGE}:find_helped")(self, name, path, target) if name in LATE else None


@contextlib.contextmanager
def replaced(place: str, value: Any) -> Iterator[None]:
    """Replace an attribute by a value in the body; the table must have the change."""
    if place not in {change.place for change in TEMPORARY}:
        raise KeyError(f"{place} is not in the table of temporary changes")
    owner, name = _owner(place)
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _save_params(save_params: Callable, sim: Any, *args: Any, **kwargs: Any) -> Any:
    """Warn if the simulator has initial values, which NengoDL does not save."""
    saved = save_params(*args, **kwargs)
    # without it, NengoDL 2 saves its own state, which it does repeatedly
    if kwargs.get("include_global", True) and state.simulator_state(sim).initial:
        warnings.warn(
            f"save_params of the simulator of {sim.model.toplevel} leaves out the initial "
            "values that TowardsInitial pulls weights towards; a checkpoint of "
            "sim.keras_model (NengoDL 3) holds them",
            stacklevel=3,
        )
    return saved


def _settings_of(get: Callable, config: nengo.Config, key: Any) -> Any:
    """Explain Nengo's error for layers and parts of objects, which have no settings."""
    try:
        return get(key)
    except ConfigError as error:
        kind = key if inspect.isclass(key) else type(key)
        if issubclass(kind, tf.keras.layers.Layer):
            name = key.__name__ if kind is key else repr(key.name)
            hint = f"settings of the layer {name} belong to its TensorNode: net.config[tensor_node]"
        elif isinstance(key, nengo.base.ObjView):
            hint = f"settings belong to the whole object: net.config[...] of {key.obj}, not {key}"
        else:
            raise
        raise ConfigError(f"{error}; {hint}") from None
