"""Which versions are in memory: what the models folder asks for, as far as it is sound.

All state is changed on the event loop, so that a request sees one picture of it. Files are
looked at and versions loaded in threads, one after another.
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
from serving.local_server.answering import Target
from serving.local_server.loaded_model import LoadedModel, Settings
from serving.local_server.version_states import (
    AVAILABLE,
    END,
    LOADING,
    UNLOADING,
    ModelVersions,
    Version,
)
from storage import manifest

_MAX_CHARACTERS = 300
_LOGGER = logging.getLogger("slimline.serving")


class ServedModels:
    """All models of a folder, kept as it asks; to be used on one event loop.

    Attributes:
      problem: why the folder cannot be read, or ''; what was served before is served on.
    """

    def __init__(self, serving_folder: pathlib.Path, settings: Settings):
        """Looks at nothing yet; the folder, `<root>/serving`, may appear later."""
        self.problem = ""
        self._folder = serving_folder
        self._settings = settings
        self._models: dict[str, ModelVersions] = {}
        # One after another: two loads at once would take twice from the requests.
        self._loader = concurrent.futures.ThreadPoolExecutor(1, "load")
        self._watching: asyncio.Task[None] | None = None
        self._unloading: set[asyncio.Task[None]] = set()
        self._is_up = False

    async def start(self) -> None:
        """Loads what is to be served.

        Returns when the first load of every model has ended, well or badly.
        """
        # TensorFlow's modules never go, and a collection that walks through them holds
        # everything up.
        gc.collect()
        gc.freeze()
        await self._follow()
        self._is_up = True
        self._watching = asyncio.create_task(self._keep_following())

    async def stop(self) -> None:
        """Answers what waits, then unloads everything."""
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
        """Models that there are, whether a version of them answers or not."""
        return sorted(
            name for name, model in self._models.items() if not model.wanted.is_gone
        )

    def is_ready(self) -> bool:
        """Whether there is a model, and of each a version that answers."""
        lives = [self._models[name].live for name in self.names()]
        return self._is_up and bool(lives) and None not in lives

    def find(self, target: Target) -> LoadedModel:
        """The version that a request means.

        A version that goes answers first what has been asked of it: it has to be asked
        before the event loop turns again.

        Raises:
          NotFound, BadRequest: there is no such model, version or label.
          Unavailable: nothing of it answers at the moment.
        """
        if not target.name:
            raise errors.BadRequest("ModelSpec has no name specified.")
        model = self._models.get(target.name)
        if model is None or model.wanted.is_gone:
            raise errors.NotFound(
                f"Servable not found for request: Latest({errors.shown(target.name)})"
            )
        found = model.find(target).model
        if found is None:
            raise errors.ServerError()
        return found

    def statuses(self, target: Target) -> list[Version]:
        """Where the versions that `target` means stand, the newest first.

        Raises:
          NotFound, BadRequest: there is no such model, version or label.
        """
        model = self._models.get(target.name)
        if model is None or model.wanted.is_gone:
            model = ModelVersions(target.name, wanted_versions.GONE)
        return model.statuses(target)

    def listing(self) -> list[dict[str, Any]]:
        """All models: classes, versions with their states, and which version answers."""
        found = []
        for name in self.names():
            model = self._models[name]
            live = model.versions[model.live].model if model.live is not None else None
            numbers = sorted({*model.versions, *model.wanted.missing})
            states = model.statuses(Target(name)) if numbers else []
            found.append(
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
        return found

    async def _keep_following(self) -> None:
        while True:
            await asyncio.sleep(self._settings.poll_seconds)
            try:
                await self._follow()
            except Exception:
                # A fault of ours must not end the watch.
                _LOGGER.exception("cannot look at the models")

    async def _follow(self) -> None:
        """Looks, and loads until nothing more is due."""
        await self._look()
        while (due := self._due()) is not None:
            await self._load(*due)

    async def _look(self) -> None:
        """Takes in what the folder asks for now."""
        problem = ""
        try:
            wanted = await asyncio.to_thread(
                wanted_versions.look, self._folder, self.names()
            )
        except (ConfigError, OSError) as error:
            wanted = {name: self._models[name].wanted for name in self.names()}
            problem = (
                f"{getattr(error, 'message', error)}; what was served is served on"
            )
            problem = problem.replace(f"{self._folder}/", "")
        if problem and problem != self.problem:
            _LOGGER.warning("%s", problem)
        elif self.problem and not problem:
            _LOGGER.info("the folder of the models can be read again")
        self.problem = problem
        for name in {*wanted, *self._models}:
            model = self._models.setdefault(
                name, ModelVersions(name, wanted_versions.GONE)
            )
            model.wanted = wanted.get(name, wanted_versions.GONE)
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
        """The next version to load; models of which nothing answers come first."""
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
                self._loader, LoadedModel, model.name, folder, self._settings
            )
        except Exception as error:
            version.code, version.error = _reason(error, folder)
            version.state, version.content = END, content
            _LOGGER.warning("%s is refused: %s", name, version.error)
        else:
            version.model, version.state = loaded, AVAILABLE
            seconds = time.perf_counter() - start
            _LOGGER.info(
                "%s answers: loaded in %.1f s%s",
                name,
                seconds,
                ""
                if manifest.exists(folder)
                else "; there is no manifest to hold its files against",
            )
        self._settle()
        await self._look()


def _fingerprint(folder: pathlib.Path | None) -> str:
    """What stands for the content of a version, without reading its weights."""
    found = []
    with contextlib.suppress(OSError):  # of what is changed right now
        for file in sorted(folder.rglob("*") if folder else ()):
            state = file.lstat()
            found.append((str(file), state.st_size, state.st_mtime_ns))
    return hashlib.sha256(repr(found).encode()).hexdigest()


def _reason(error: Exception, folder: pathlib.Path) -> tuple[grpc.StatusCode, str]:
    """Code and sentence of a refusal, in a line, without the folder's path."""
    code = grpc.StatusCode.FAILED_PRECONDITION
    if isinstance(error, tf.errors.OpError):
        # TensorFlow's codes have the numbers of gRPC's.
        codes = {one.value[0]: one for one in grpc.StatusCode}
        code = codes.get(error.error_code, grpc.StatusCode.UNKNOWN)
    elif isinstance(error, OSError):
        code = grpc.StatusCode.NOT_FOUND
    # Some messages are headed by lines that say nothing.
    empty = ("Graph execution error:", "Detected at node", "Node: ")
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(empty)]
    message = told[0] if told else type(error).__name__
    return code, message.replace(f"{folder}/", "")[:_MAX_CHARACTERS]
