"""Keeps the wanted versions of all models in memory.

All state changes on the event loop, so that each request sees a consistent state. Threads read
the files and load the versions, one after another.
"""

import asyncio
import concurrent.futures
import contextlib
import gc
import hashlib
import logging
import pathlib
import time
from typing import Any

import grpc
import tensorflow as tf

from common.errors import ConfigError
from serving.local_server import errors, wanted_versions
from serving.local_server.limits import Limits
from serving.local_server.loaded_model import LoadedModel
from serving.local_server.version_states import (
    AVAILABLE,
    END,
    LOADING,
    UNLOADING,
    ModelVersions,
    Version,
)
from serving.model_spec import ModelSpec
from storage import manifest

_MAX_CHARACTERS = 300
_LOGGER = logging.getLogger("slimline.serving")


class ServedModels:
    """All models of a folder; used on one event loop.

    Attributes:
      problem: why the folder cannot be read, or ''. Then the former versions stay served.
    """

    def __init__(
        self, serving_folder: pathlib.Path, limits: Limits, poll_seconds: float
    ):
        """Reads nothing yet; the folder, `<root>/serving`, may not exist yet."""
        self.problem = ""
        self._folder = serving_folder
        self._limits = limits
        self._poll_seconds = poll_seconds
        self._models: dict[str, ModelVersions] = {}
        # One thread: two loads at once would slow requests down twice as much.
        self._loader = concurrent.futures.ThreadPoolExecutor(1, "load")
        self._watching: asyncio.Task[None] | None = None
        self._unloading: set[asyncio.Task[None]] = set()
        self._is_up = False

    async def start(self) -> None:
        """Loads the wanted versions; returns when each was loaded or refused."""
        # TensorFlow's modules are never freed, and a garbage collection that walks through
        # them delays every request.
        gc.collect()
        gc.freeze()
        await self._follow()
        self._is_up = True
        self._watching = asyncio.create_task(self._keep_following())

    async def stop(self) -> None:
        """Answers the waiting requests, then unloads everything."""
        self._is_up = False
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        for model in self._models.values():
            model.wanted = wanted_versions.GONE
        self._settle()
        await asyncio.gather(*self._unloading)
        await asyncio.to_thread(self._loader.shutdown)

    def names(self) -> list[str]:
        """Names of all models, including those without a version that answers."""
        return sorted(
            name for name, model in self._models.items() if not model.wanted.is_gone
        )

    def is_ready(self) -> bool:
        """Whether there is a model, and each has a version that answers."""
        lives = [self._models[name].live for name in self.names()]
        return self._is_up and bool(lives) and None not in lives

    def find(self, spec: ModelSpec) -> LoadedModel:
        """The version that a request names.

        The caller must run it before it awaits anything else: an unloading version still
        answers the requests that were given to it before.

        Raises:
          NotFound, BadRequest: there is no such model, version or label.
          Unavailable: no version of it answers at the moment.
        """
        if not spec.name:
            raise errors.BadRequest("ModelSpec has no name specified.")
        model = self._models.get(spec.name)
        if model is None or model.wanted.is_gone:
            raise errors.NotFound(
                f"Servable not found for request: Latest({errors.shown(spec.name)})"
            )
        loaded = model.find(spec).model
        if loaded is None:
            raise errors.ServerError()
        return loaded

    def statuses(self, spec: ModelSpec) -> list[Version]:
        """The versions that `spec` names with their states, newest first.

        Raises:
          NotFound, BadRequest: there is no such model, version or label.
        """
        model = self._models.get(spec.name)
        if model is None or model.wanted.is_gone:
            model = ModelVersions(spec.name, wanted_versions.GONE)
        return model.statuses(spec)

    def listing(self) -> list[dict[str, Any]]:
        """All models with their classes, versions and states, as JSON."""
        documents = []
        for name in self.names():
            model = self._models[name]
            live = model.versions[model.live].model if model.live is not None else None
            has_any = model.versions or model.wanted.missing
            states = model.statuses(ModelSpec(name)) if has_any else []
            documents.append(
                {
                    "name": name,
                    "answers": model.live,
                    "classes": list(live.class_names) if live is not None else [],
                    "labels": dict(model.labels),
                    "versions": [
                        {"version": one.number, "state": one.state, "error": one.error}
                        for one in states
                    ],
                }
            )
        return documents

    async def _keep_following(self) -> None:
        while True:
            await asyncio.sleep(self._poll_seconds)
            try:
                await self._follow()
            except Exception:
                # A bug must not end the polling.
                _LOGGER.exception("cannot look at the models")

    async def _follow(self) -> None:
        """Reads the folder, and loads until no version is due."""
        await self._look()
        while (due := self._due()) is not None:
            await self._load(*due)

    async def _look(self) -> None:
        """Updates the wanted versions from the folder."""
        problem = ""
        try:
            look, names = wanted_versions.look, self.names()
            wanted = await asyncio.to_thread(look, self._folder, names)
        except (ConfigError, OSError) as error:
            wanted = {name: self._models[name].wanted for name in self.names()}
            message = str(getattr(error, "message", error))
            message = message.replace(f"{self._folder}/", "")
            problem = f"{message}; the versions in memory stay served"
        if problem and problem != self.problem:
            _LOGGER.warning("%s", problem)
        elif self.problem and not problem:
            _LOGGER.info("the folder of the models can be read again")
        self.problem = problem
        gone = wanted_versions.GONE
        for name in {*wanted, *self._models}:
            model = self._models.setdefault(name, ModelVersions(name, gone))
            model.wanted = wanted.get(name, gone)
            for version in [*model.versions.values()]:
                folder = model.wanted.folders.get(version.number)
                is_changed = version.error and _fingerprint(folder) != version.content
                if version.state == END and (folder is None or is_changed):
                    del model.versions[version.number]
        self._settle()

    def _settle(self) -> None:
        """Unloads the versions that are no longer needed."""
        for name, model in list(self._models.items()):
            for version in model.settle():
                version.state = UNLOADING
                task = asyncio.create_task(self._unload(name, version))
                self._unloading.add(task)
                task.add_done_callback(self._unloading.discard)
            if model.wanted.is_gone and not model.versions:
                del self._models[name]

    async def _unload(self, name: str, version: Version) -> None:
        if version.model is not None:
            await version.model.stop()
            await asyncio.to_thread(version.model.unload)
            version.model = None
        version.state = END
        _LOGGER.info("%s version %d is unloaded", name, version.number)

    def _due(self) -> tuple[ModelVersions, int] | None:
        """The next version to load; models without a version that answers come first."""
        due = [
            (bool(model.available()), model.name, number)
            for model in self._models.values()
            if (number := model.due()) is not None
        ]
        if not due:
            return None
        _, name, number = min(due)
        return self._models[name], number

    async def _load(self, model: ModelVersions, number: int) -> None:
        folder = model.wanted.folders[number]
        version = model.versions[number] = Version(number, LOADING)
        name, start = f"{model.name} version {number}", time.perf_counter()
        content = await asyncio.to_thread(_fingerprint, folder)
        loop = asyncio.get_running_loop()
        try:
            loaded = await loop.run_in_executor(
                self._loader, LoadedModel, model.name, folder, self._limits
            )
        except Exception as error:
            version.code, version.error = _reason(error, folder)
            version.state, version.content = END, content
            _LOGGER.warning("%s is refused: %s", name, version.error)
        else:
            version.model, version.state = loaded, AVAILABLE
            seconds = time.perf_counter() - start
            has_manifest = manifest.exists(folder)
            note = "" if has_manifest else "; without a manifest to verify its files"
            _LOGGER.info("%s answers: loaded in %.1f s%s", name, seconds, note)
        self._settle()
        await self._look()


def _fingerprint(folder: pathlib.Path | None) -> str:
    """Changes with the files of a version, by their sizes and times."""
    states = []
    with contextlib.suppress(OSError):  # a file that is just being replaced
        for file in sorted(folder.rglob("*") if folder else ()):
            state = file.lstat()
            states.append((str(file), state.st_size, state.st_mtime_ns))
    return hashlib.sha256(repr(states).encode()).hexdigest()


def _reason(error: Exception, folder: pathlib.Path) -> tuple[grpc.StatusCode, str]:
    """Code and message of a refusal, one line without the folder's path."""
    code = grpc.StatusCode.FAILED_PRECONDITION
    if isinstance(error, tf.errors.OpError):
        # TensorFlow's codes have the numbers of gRPC's.
        codes = {one.value[0]: one for one in grpc.StatusCode}
        code = codes.get(error.error_code, grpc.StatusCode.UNKNOWN)
    elif isinstance(error, OSError):
        code = grpc.StatusCode.NOT_FOUND
    # Some messages begin with lines that say nothing.
    empty = ("Graph execution error:", "Detected at node", "Node: ")
    lines = (line.strip() for line in str(error).splitlines())
    useful = (line for line in lines if line and not line.startswith(empty))
    message = next(useful, type(error).__name__)
    return code, message.replace(f"{folder}/", "")[:_MAX_CHARACTERS]
