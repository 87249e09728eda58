"""Which versions are in memory: what the models folder asks for, as far as it is sound.

All state is changed on the event loop, so that a request sees one picture of it. Files are
looked at, versions checked and loaded in threads, one after another.
"""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import gc
import logging
import pathlib
import time
from collections.abc import Iterator

from serving.local_server import errors, inspection, model_check, wanted_versions
from serving.local_server.loaded_model import LoadedModel
from serving.local_server.model_check import Checked, ModelCheck
from serving.local_server.settings import Settings
from serving.local_server.version_states import (
    AVAILABLE,
    END,
    LOADING,
    UNLOADING,
    ModelVersions,
    Version,
    VersionStatus,
)

__all__ = ["ServedModels", "Settings", "VersionStatus"]

CHECK_IDLE_SECONDS = 300.0
# After that a version is checked again whose check a busy machine may have ended.
RETRY_SECONDS = 300.0
_LOGGER = logging.getLogger("slimline.serving")


@dataclasses.dataclass(frozen=True)
class _Loaded:
    """What became of a version.

    Attributes:
      content: its fingerprint, '' where it has none.
      checked: the outcome of the check, and of loading.
      model: None where it was refused.
      check_seconds, load_seconds: how long both took.
    """

    content: str
    checked: Checked
    model: LoadedModel | None = None
    check_seconds: float = 0.0
    load_seconds: float = 0.0


class ServedModels:
    """All models of a folder, kept as it asks; to be used on one event loop."""

    def __init__(self, serving_folder: pathlib.Path, settings: Settings):
        """Looks at nothing yet.

        Args:
          serving_folder: the models, `<root>/serving`; it may appear later.
          settings: of the engine.
        """
        self._folder = serving_folder
        self._settings = settings
        self._models: dict[str, ModelVersions] = {}
        self._watcher = wanted_versions.Watcher(serving_folder)
        self._check = ModelCheck(settings.check_seconds)
        # One after another: two loads at once would take twice from the requests.
        self._loader = concurrent.futures.ThreadPoolExecutor(1, "load")
        self._watching: list[asyncio.Task[None]] = []
        self._unloading: set[asyncio.Task[None]] = set()
        self._is_changed = asyncio.Event()
        self._is_settled = asyncio.Event()
        self._is_stopping = False

    async def start(self) -> None:
        """Loads what is to be served.

        Returns when the first load of every model has ended, well or badly.
        """
        # TensorFlow's modules never go, and a collection that walks through them holds
        # everything up.
        gc.collect()
        gc.freeze()
        await self._look()
        self._watching = [
            asyncio.create_task(self._keep_looking()),
            asyncio.create_task(self._keep_loading()),
        ]
        await self._is_settled.wait()

    async def stop(self) -> None:
        """Waits for the requests under way, then unloads everything."""
        self._is_stopping = True
        self._check.stop()
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        for model in self._models.values():
            model.wanted = wanted_versions.GONE
        self._settle()
        await asyncio.gather(*self._unloading)
        await asyncio.to_thread(self._loader.shutdown)
        self._check.end_if_idle(0)

    @property
    def problem(self) -> str:
        """Why the folder cannot be read, or ''; what was served before is served on."""
        return self._watcher.problem

    def names(self) -> list[str]:
        """Models that there are, whether a version of them answers or not."""
        return sorted(
            name for name, model in self._models.items() if not model.wanted.is_gone
        )

    def labels(self, name: str) -> dict[str, int]:
        """Labels of a model, and the version that answers to each.

        Raises:
          UnknownModel: there is no such thing.
        """
        return dict(self._model(name).labels)

    def is_ready(self) -> bool:
        """Whether there is a model, and of each a version that answers."""
        lives = [self._models[name].live for name in self.names()]
        is_up = self._is_settled.is_set() and not self._is_stopping
        return is_up and bool(lives) and None not in lives

    @contextlib.contextmanager
    def find(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> Iterator[LoadedModel]:
        """A version that stays in memory until the block ends.

        Args:
          name: of the model.
          version: its number; None goes by the label.
          label: such as 'canary'; without both the live version is meant.

        Raises:
          UnknownModel, UnknownVersion, UnknownLabel: there is no such thing.
          NotAvailable: nothing of it answers at the moment.
        """
        found = self._model(name).find(version, label)
        if found.model is None:
            raise errors.InternalError
        found.lease_count += 1
        found.is_free.clear()
        try:
            yield found.model
        finally:
            found.lease_count -= 1
            if not found.lease_count:
                found.is_free.set()

    def statuses(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> list[VersionStatus]:
        """Where the versions of a model stand, the newest first.

        Args:
          name: of the model.
          version: only this one; None for all.
          label: only the one that answers to it; None for all.

        Raises:
          UnknownModel, UnknownVersion, UnknownLabel: there is no such thing.
        """
        found = self._model(name).statuses(version, label)
        # There is no other place for it; the code stays OK.
        return [
            dataclasses.replace(status, error_message=self.problem)
            if status.state == AVAILABLE
            else status
            for status in found
        ]

    def _model(self, name: str) -> ModelVersions:
        model = self._models.get(name)
        if model is None or model.wanted.is_gone:
            raise errors.UnknownModel(name)
        return model

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(self._settings.poll_seconds)
            try:
                await self._look()
            except Exception:
                # A fault of ours must not end the watch.
                _LOGGER.exception("cannot look at the models")

    async def _look(self) -> None:
        """Takes in what the folder asks for now."""
        refused = [
            (name, number, version.content)
            for name, model in self._models.items()
            for number, version in model.versions.items()
            if version.is_refused
        ]
        now = asyncio.get_running_loop().time()
        # Before the wait: versions may go meanwhile.
        due = {
            (name, number)
            for name, model in self._models.items()
            for number, version in model.versions.items()
            if version.retry_time <= now
        }
        wanted, mended = await asyncio.to_thread(self._look_aside, refused)
        for name in {*wanted, *self._models}:
            if name not in self._models:
                self._models[name] = ModelVersions(name, wanted[name])
            self._models[name].wanted = wanted.get(name, wanted_versions.GONE)
        for name, number in due.union(mended):
            del self._models[name].versions[number]
        self._settle()

    def _look_aside(
        self, refused: list[tuple[str, int, str]]
    ) -> tuple[dict[str, wanted_versions.Wanted], list[tuple[str, int]]]:
        """In a thread: what is wanted, and refused versions whose content has changed."""
        mended = []
        for name, number, content in refused:
            with contextlib.suppress(OSError):
                folder = self._folder / name / str(number)
                if model_check.fingerprint(folder) != content:
                    mended.append((name, number))
        return self._watcher.look(), mended

    def _settle(self) -> None:
        """Lets go of what nobody needs any more; wakes the loader."""
        for name, model in list(self._models.items()):
            for number in model.settle():
                version = model.versions[number]
                version.enter(UNLOADING)
                task = asyncio.create_task(self._unload(name, version))
                self._unloading.add(task)
                task.add_done_callback(self._unloading.discard)
            for number in [*model.versions]:
                is_over = model.versions[number].status.state == END
                if is_over and number not in model.wanted.there:
                    del model.versions[number]
            if model.wanted.is_gone and not model.versions:
                del self._models[name]
        self._is_changed.set()

    async def _unload(self, name: str, version: Version) -> None:
        await version.is_free.wait()
        if version.model is not None:
            await version.model.stop()
            await asyncio.to_thread(version.model.unload)
            version.model = None
        version.enter(END)
        _LOGGER.info("%s version %d is unloaded", name, version.status.version)

    async def _keep_loading(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._is_changed.clear()
            due = self._due()
            if due is not None:
                await self._load(*due)
                continue
            self._is_settled.set()
            await self._is_changed.wait()
            await loop.run_in_executor(
                self._loader, self._check.end_if_idle, CHECK_IDLE_SECONDS
            )

    def _due(self) -> tuple[ModelVersions, int] | None:
        """The next version to load; models of which nothing answers come first."""
        by_need = sorted(
            self._models.values(),
            key=lambda model: (bool(model.available()), model.name),
        )
        for model in by_need:
            number = model.due()
            if number is not None:
                return model, number
        return None

    async def _load(self, model: ModelVersions, number: int) -> None:
        version = Version(VersionStatus(number, LOADING))
        model.versions[number] = version
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._loader, self._load_aside, self._folder / model.name / str(number)
        )
        version.content = found.content
        name = f"{model.name} version {number}"
        if found.model is None:
            code = found.checked.code.value[0]
            version.enter(END, code, found.checked.reason)
            if found.checked.may_pass_later:
                version.retry_time = loop.time() + RETRY_SECONDS
            _LOGGER.warning("%s is refused: %s", name, found.checked.reason)
        elif model.may_answer(number):
            found.model.start()
            version.model = found.model
            version.enter(AVAILABLE)
            _LOGGER.info(
                "%s answers: checked in %.1f s, loaded in %.1f s%s",
                name,
                found.check_seconds,
                found.load_seconds,
                "".join(f"; {note}" for note in found.checked.notes),
            )
        else:
            await asyncio.to_thread(found.model.unload)
            version.enter(END)
        self._settle()

    def _load_aside(self, folder: pathlib.Path) -> _Loaded:
        """In the loader's thread: the version, checked and warm, or why it is refused."""
        content = ""
        start = time.perf_counter()
        try:
            content = model_check.fingerprint(folder)
            checked = self._check.check(folder, content)
            if checked.is_refused:
                return _Loaded(content, checked)
            middle = time.perf_counter()
            model = LoadedModel(folder.parent.name, folder, self._settings)
        except Exception as error:
            _LOGGER.debug("cannot load %s", folder, exc_info=True)
            refused = inspection.refusal(error, folder)
            return _Loaded(content, Checked(refused.code, refused.reason))
        end = time.perf_counter()
        return _Loaded(content, checked, model, middle - start, end - middle)
