"""
What the zygote has to know of the Flyte SDK: what a task imports, and which settings the SDK reads while it is imported.
Runs inside the zygote (zygote.py); nothing here is seen by tasks. Written against flyte 2.12.
"""

import importlib.abc
import os
import sys

# Without these a warm start would gain nothing.
REQUIRED = (
    "flyte._bin.runtime",
    "flyte._internal.runtime.entrypoints",
)

# What an empty task has imported by its end, beyond what the modules above bring along. A version of the SDK without one of
# them imports it later or never.
WELCOME = (
    "faulthandler",
    "flyte._internal.controllers.remote._client",
    "flyte._internal.resolvers.default",
    "flyte._internal.runtime.task_serde",
    "flyte._utils.async_cache",
    "flyte._utils.asyncify",
    "flyte.config._reader",
    "flyte.git",
    "flyte.remote._client.auth._interceptors.default_metadata",
    "flyte.remote._client.auth._interceptors.retry",
    "flyte.remote._client.controlplane",
    "flyte.storage._config",
    "flyte.types._interface",
    "httpcore",
    "httpx",
    "importlib.resources.readers",
    "opentelemetry.metrics",
    "opentelemetry.propagate",
    "opentelemetry.trace.propagation.tracecontext",
    "pydantic.main",
    "pyqwest._glue",
    "zoneinfo",
)

# Read while flyte is imported, and read again by reapply().
REAPPLIED = {"LOG_LEVEL", "USER_LOG_LEVEL"}

# Make of the task something else than the plain run of a0, or are read in ways that nobody has checked.
UNUSUAL = ("_F_E_VS", "_F_E_SSH", "_F_EXEC_WRAPPER", "FLYTE_APPLE_SILICON_ENDPOINT")


def watched():
    """Paths outside the Python environment that are read while the modules are imported."""
    directory = os.environ.get("FSSPEC_CONFIG_DIR", os.path.expanduser("~/.config/fsspec"))
    return [directory]


def irrelevant(reader, name):
    """fsspec.config goes through the whole environment and takes what begins with FSSPEC."""
    return reader == "fsspec.config" and not name.startswith("FSSPEC")


def reason_against(env, warm):
    for name in env:
        if name in UNUSUAL:
            return f"{name} is set"
        if name.startswith("FSSPEC") and env[name] != warm.get(name):
            return f"{name} differs from the warm process"
    return None


_decorated = []
_original_log = None


def _log(fn=None, **options):
    """Stands for flyte._logging.log, which decides by the level of the moment whether a function is to be logged."""
    if fn is None:
        return lambda fn: _log(fn, **options)
    _decorated.append((fn, options))
    return _original_log(fn, **options)


class _Loader(importlib.abc.Loader):
    def __init__(self, loader):
        self.loader = loader

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        global _original_log
        self.loader.exec_module(module)
        module.__loader__ = module.__spec__.loader = self.loader
        _original_log = getattr(module, "log", None)
        if _original_log:
            module.log = _log


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "flyte._logging":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec:
            spec.loader = _Loader(spec.loader)
        return spec


def prepare():
    """Before anything is imported."""
    sys.meta_path.insert(0, _Finder())


def reapply():
    """In the payload, with its environment in place: what the SDK did with its settings while it was imported."""
    logging = sys.modules["flyte._logging"]
    for logger in (logging.logger, logging.user_logger):
        logger.handlers.clear()
    logging._create_flyte_logger()
    logging._create_user_logger()
    replaced = {_log: _original_log}
    for fn, options in _decorated:
        logged = _original_log(fn, **options)
        if logged is fn:
            continue
        replaced[fn] = logged
        owner = sys.modules[fn.__module__]
        *outer, name = fn.__qualname__.split(".")
        for part in outer:
            owner = vars(owner)[part]
        setattr(owner, name, logged)
    # Other modules may have imported the function by its name.
    for module_name, module in list(sys.modules.items()):
        if not module_name.startswith("flyte."):
            continue
        for key, value in list(object.__getattribute__(module, "__dict__").items()):
            if type(value) is type(_log) and value in replaced:
                setattr(module, key, replaced[value])
