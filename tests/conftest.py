"""Tiny fake data sets in the real formats."""

import contextlib
import gc
import gzip
import importlib.util
import io
import json
import logging
import os
import pathlib
import struct
import sys
import tarfile
import tempfile
import uuid
import zipfile
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

NOBODY = 65534
CIFAR10_NAMES = (
    "airplane automobile bird cat deer dog frog horse ship truck".split()  # noqa: SIM905
)


WARM_FORKS = pathlib.Path(__file__).with_name("warm_forks.py")
FORKS = pytest.StashKey()


# Below tests/: what takes longest comes first, so that no worker has it left at the end.
LONGEST = (
    "e2e/test_pipeline.py",
    "e2e/test_commands.py",
    "e2e/test_partial_runs.py",
    "e2e/test_engines.py",
    "e2e/test_sweep.py",
    "e2e/test_damaged_artifacts.py",
    "e2e/test_photos.py",
    "docs/test_shell_blocks.py",
    "trainer/nets/test_published.py",
    "trainer/nets/test_registry.py",
    "e2e/test_schedule.py",
    "kubeflow/test_runs.py",
    "trainer/test_training.py",
    "trainer/test_transfer.py",
    "trainer/test_export.py",
    "trainer/test_input_pipeline.py",
    "e2e/test_training_goes_on.py",
    "e2e/test_remote_root.py",
    "trainer/test_resume.py",
    "trainer/test_whitening.py",
    "trainer/test_warm_start.py",
)
# File -> file whose worker it goes to, for what both get from a fixture of the session.
TOGETHER = {
    "e2e/test_engines.py": "e2e/test_partial_runs.py",
    "e2e/test_sweep.py": "e2e/test_partial_runs.py",
    "e2e/test_damaged_artifacts.py": "e2e/test_partial_runs.py",
    "trainer/nets/test_registry.py": "trainer/nets/test_published.py",
}


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """The workers share one server of warm forks, which imports while they collect."""
    if not (forks := node.config.stash.get(FORKS, None)):
        forks = node.config.stash[FORKS] = _load(WARM_FORKS).WarmForks()
        forks.__enter__()
        node.config.add_cleanup(lambda: forks.__exit__())
    node.workerinput["warm_forks"] = forks.address


def pytest_collection_finish() -> None:
    """What was imported stays: the garbage collector does not look through it again."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files that take longest first, in the order above."""
    places = {name: place for place, name in enumerate(LONGEST)}
    tests = pathlib.Path(__file__).parent

    def place(item: pytest.Item) -> int:
        name = item.path.relative_to(tests).as_posix()
        return places.get(name, len(places))

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Files stay whole, as by `--dist loadfile`, and some stay together."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            name = file.removeprefix("tests/")
            return f"tests/{TOGETHER[name]}" if name in TOGETHER else file

    return Together(config, log)


class Fakes:
    """Writes data sets; every image has the colour of its class and noise of its own."""

    def __init__(self, seed: int = 0):
        self._random = np.random.default_rng(seed)

    def pixels(
        self, labels: Sequence[int], height: int, width: int, channels: int
    ) -> np.ndarray:
        """uint8 [n, height, width, channels], all different."""
        shape = (len(labels), height, width, channels)
        noise = self._random.integers(0, 40, shape)
        levels = (np.asarray(labels)[:, None] * 71 + np.arange(channels) * 97) % 200
        return (levels[:, None, None, :] + noise).astype(np.uint8)

    def labels(self, count: int, num_classes: int) -> list[int]:
        """Each class as often as the others, in mixed order."""
        return self._random.permutation(np.arange(count) % num_classes).tolist()

    def cifar10_binary(self, folder: pathlib.Path, images: int = 40) -> pathlib.Path:
        """Two training batches and a test batch of `images` each, with the class names."""
        folder.mkdir(parents=True)
        for file in ("data_batch_1.bin", "data_batch_2.bin", "test_batch.bin"):
            labels = self.labels(images, 10)
            (folder / file).write_bytes(
                cifar_records(labels, self.pixels(labels, 32, 32, 3))
            )
        (folder / "batches.meta.txt").write_text("\n".join(CIFAR10_NAMES) + "\n\n")
        return folder

    def cifar100_binary(self, folder: pathlib.Path, images: int = 300) -> pathlib.Path:
        """train.bin and test.bin of `images` each, with the fine class names."""
        folder.mkdir(parents=True)
        names = [f"class_{number:02}" for number in range(100)]
        for file in ("train.bin", "test.bin"):
            labels = self.labels(images, 100)
            pixels = self.pixels(labels, 32, 32, 3)
            coarse = [label // 5 for label in labels]
            (folder / file).write_bytes(cifar_records(labels, pixels, coarse))
        (folder / "fine_label_names.txt").write_text("\n".join(names) + "\n")
        return folder

    def python_layout(
        self, binary: pathlib.Path, folder: pathlib.Path, protocol: int = 0
    ) -> pathlib.Path:
        """The python release with the content of a binary one.

        Args:
          protocol: 0 writes as Python 2 did (the official files), 2 to 5 as Python 3's
            `pickle.dump` does.
        """
        folder.mkdir(parents=True)
        is_cifar100 = (binary / "fine_label_names.txt").exists()
        skip = 2 if is_cifar100 else 1
        for file in sorted(binary.glob("*.bin")):
            table = np.frombuffer(file.read_bytes(), np.uint8).reshape(-1, 3072 + skip)
            labels = table[:, skip - 1].tolist()
            batch: dict[str, object] = {
                "batch_label": f"batch of {file.stem}",
                "fine_labels" if is_cifar100 else "labels": labels,
                "data": np.ascontiguousarray(table[:, skip:]),
                "filenames": [
                    f"{label}_s_{n:06}.png" for n, label in enumerate(labels)
                ],
            }
            if is_cifar100:
                batch["coarse_labels"] = table[:, 0].tolist()
            (folder / file.stem).write_bytes(dump(batch, protocol))
        names_file = "fine_label_names.txt" if is_cifar100 else "batches.meta.txt"
        names = (binary / names_file).read_text().split()
        meta: dict[str, object] = {
            "fine_label_names" if is_cifar100 else "label_names": names
        }
        (folder / ("meta" if is_cifar100 else "batches.meta")).write_bytes(
            dump(meta, protocol)
        )
        return folder

    def idx(
        self,
        folder: pathlib.Path,
        images: int = 60,
        *,
        prefix: str = "",
        separator: str = "-",
        is_packed: bool = True,
        test_name: str = "t10k",
        height_px: int = 6,
        width_px: int = 5,
    ) -> pathlib.Path:
        """MNIST-format files, of `images` in train and as many in test."""
        folder.mkdir(parents=True)
        for split in ("train", test_name):
            labels = self.labels(images, 10)
            pixels = self.pixels(labels, height_px, width_px, 1)
            files = {
                "images%sidx3-ubyte": idx_bytes(pixels[..., 0]),
                "labels%sidx1-ubyte": idx_bytes(np.asarray(labels, np.uint8)),
            }
            for name, data in files.items():
                path = folder / f"{prefix}{split}-{name % separator}"
                if is_packed:
                    path.with_name(path.name + ".gz").write_bytes(gzip.compress(data))
                else:
                    path.write_bytes(data)
        return folder

    def class_folders(
        self,
        folder: pathlib.Path,
        classes: Sequence[str] = ("cat", "dog"),
        per_class: int = 20,
        *,
        suffix: str = ".png",
        size_px: int = 8,
        channels: int = 3,
    ) -> pathlib.Path:
        """`folder`/<class>/image_0001.<suffix>; file names occur in every class."""
        for label, text in enumerate(classes):
            inner = folder / text
            inner.mkdir(parents=True, exist_ok=True)
            images = self.pixels([label] * per_class, size_px, size_px, channels)
            for number, image in enumerate(images, start=1):
                data = encode(image, suffix)
                (inner / f"image_{number:04}{suffix}").write_bytes(data)
        return folder

    def pack(self, folder: pathlib.Path, path: pathlib.Path) -> pathlib.Path:
        """Archive of `folder` (itself included) at `path`, of the kind its name says."""
        if path.suffix == ".zip":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                for file in sorted(folder.rglob("*")):
                    archive.write(file, file.relative_to(folder.parent))
            return path
        kind = {".gz": "gz", ".xz": "xz", ".bz2": "bz2"}.get(path.suffix, "")
        with tarfile.open(path, f"w:{kind}") as archive:  # type: ignore[call-overload]
            archive.add(folder, arcname=folder.name)
        return path


def cifar_records(
    labels: Sequence[int], pixels: np.ndarray, coarse: Sequence[int] | None = None
) -> bytes:
    """Records as in CIFAR's binary release: labels, then the planes."""
    planes = pixels.transpose(0, 3, 1, 2).reshape(len(labels), -1)
    columns = [labels] if coarse is None else [coarse, labels]
    heads = np.asarray(columns, np.uint8).T
    return np.concatenate([heads, planes], axis=1).tobytes()


def idx_bytes(values: np.ndarray) -> bytes:
    """IDX file of unsigned bytes."""
    head = struct.pack(f">I{values.ndim}I", 0x0800 | values.ndim, *values.shape)
    return head + values.astype(np.uint8).tobytes()


def encode(image: np.ndarray, suffix: str = ".png") -> bytes:
    """Encoded image of uint8 [height, width, channels]."""
    kind = {".jpg": "JPEG", ".webp": "WEBP"}.get(suffix, suffix[1:].upper())
    file = io.BytesIO()
    options = {"lossless": True} if kind == "WEBP" else {}
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(
        file, kind, **options
    )
    return file.getvalue()


def dump(value: dict[str, object], protocol: int) -> bytes:
    """Pickle of a batch; protocol 0 stands for what Python 2 wrote with protocol 2."""
    if protocol:
        import pickle

        return pickle.dumps(value, protocol)
    return b"\x80\x02" + _python2(value) + b"."


def _python2(value: object) -> bytes:
    """Opcodes of Python 2's cPickle for the kinds that CIFAR's batches hold."""
    if isinstance(value, str):
        data = value.encode()
        if len(data) < 256:
            return b"U" + bytes([len(data)]) + data + b"q\x01"
        return b"T" + struct.pack("<i", len(data)) + data + b"q\x01"
    if isinstance(value, int):
        return b"K" + bytes([value])
    if isinstance(value, list):
        return b"]q\x02(" + b"".join(_python2(item) for item in value) + b"e"
    if isinstance(value, dict):
        items = b"".join(_python2(key) + _python2(item) for key, item in value.items())
        return b"}q\x03(" + items + b"u"
    if isinstance(value, np.ndarray):
        rows, columns = value.shape
        content = value.tobytes()
        return (
            b"cnumpy.core.multiarray\n_reconstruct\nq\x04cnumpy\nndarray\nq\x05K\x00\x85"
            b"U\x01b\x87R(K\x01" + b"J" + struct.pack("<i", rows) + b"M"
            b""
            + struct.pack("<H", columns)
            + b"\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01"
            b"\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
            + struct.pack("<i", len(content))
            + content
            + b"tb"
        )
    raise TypeError(type(value).__name__)


@pytest.fixture
def unprivileged():
    """A folder, and a context in which it is read without the permissions of root."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)

        @contextlib.contextmanager
        def as_nobody():
            if os.geteuid():
                yield
                return
            os.seteuid(NOBODY)
            try:
                yield
            finally:
                os.seteuid(0)

        yield folder, as_nobody


@pytest.fixture
def fakes() -> Fakes:
    """Writer of fake data sets, seeded."""
    return Fakes()


@pytest.fixture(scope="session")
def new_fakes() -> type[Fakes]:
    """Fakes(seed), for fixtures that outlive a test."""
    return Fakes


@pytest.fixture(scope="session")
def orchestrators():
    """Function (first heading) -> {(verb, engine): cell} of a table in docs/cli.md."""
    page = pathlib.Path(__file__).parents[1] / "docs" / "cli.md"

    def read(heading: str) -> dict[tuple[str, str], str]:
        text = page.read_text(encoding="utf-8")
        table = text[text.index(f"| {heading} |") :].partition("\n\n")[0]
        head, _, *rows = [
            [cell.strip() for cell in line.split("|")[1:-1]]
            for line in table.splitlines()
        ]
        return {
            (row[0].strip("`"), engine.strip("`")): cell
            for row in rows
            for engine, cell in zip(head[1:], row[1:], strict=True)
        }

    return read


@pytest.fixture
def write_evaluation():
    """Writes what a run keeps of its model's answers; gives the URI of the evaluation."""
    import pandas as pd

    from components.model_evaluator import gate, predictions

    def write(folder, keys, labels, probabilities, class_names):
        folder.mkdir(parents=True, exist_ok=True)
        columns = {
            predictions.KEY: keys,
            predictions.LABEL: np.asarray(labels, np.int32),
            predictions.PROBABILITIES: list(np.asarray(probabilities, np.float32)),
        }
        pd.DataFrame(columns).to_parquet(folder / predictions.FILE)
        verdict = json.dumps({"labels": list(class_names)})
        (folder / gate.VERDICT_FILE).write_text(verdict)
        return str(folder)

    return write


@pytest.fixture(scope="session")
def test_data() -> pathlib.Path:
    """Folder of the real data sets, or a skip that says why."""
    folder = os.environ.get("SLIMLINE_TEST_DATA", "")
    if not folder or not pathlib.Path(folder).is_dir():
        pytest.skip("SLIMLINE_TEST_DATA names no folder of real data")
    return pathlib.Path(folder)


def _load(path: pathlib.Path) -> ModuleType:
    """A module beside the tests, which are no package."""
    spec = importlib.util.spec_from_file_location(f"tests_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def kubeflow_api_server() -> ModuleType:
    """The module `kubeflow/api_server.py`, for the tests of the client and the command."""
    return _load(pathlib.Path(__file__).with_name("kubeflow") / "api_server.py")


@pytest.fixture(scope="session")
def warm_forks(request: pytest.FixtureRequest):
    """Starts commands in a fork of a process that has imported everything."""
    module = _load(WARM_FORKS)
    if given := getattr(request.config, "workerinput", {}).get("warm_forks"):
        yield module.Forks(given)
        return
    with module.WarmForks() as forks:
        yield forks


@pytest.fixture(scope="module")
def forked_probes(warm_forks):
    """The check of served models runs in warm forks; components/infra_check keeps the real."""
    from components.infra_check import fresh_process

    words = ("python", *fresh_process.COMMAND[-2:])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fresh_process, "COMMAND", warm_forks.command(*words))
        yield


@pytest.fixture(scope="module")
def small_net():
    """Name of a net of this module alone: resnet_20 with one unit a group, built in no time."""
    from trainer.nets import registry, resnet

    net = resnet.cifar("resnet_8", units=1, parameters=75_290)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.NETS, net.name, net)
        yield net.name


@pytest.fixture(scope="session")
def write_maps_model():
    """Function (folder, ...) -> folder with a SavedModel whose evidence is known."""
    return _write_maps_model


def _write_maps_model(
    folder: pathlib.Path,
    labels: Sequence[str] = ("dark", "light"),
    *,
    size_px: int = 8,
    head: str = "pool",
    names: Sequence[str] = ("seen_images", "logits", "last_maps", "class_weights"),
) -> pathlib.Path:
    """Writes a model that looks for dark and light in squares of 2 px.

    The two maps hold how dark and how light each square is, from 0 to 1. The first class
    gets 8 for dark and -8 for light, the second the opposite, others less of either.

    Args:
      folder: must not exist.
      labels: class names.
      size_px: images are brought to that side.
      head: 'pool', 'flatten' (the same logits), or 'dense' with a hidden layer.
      names: tensors that are named.
    """
    import tensorflow as tf

    v1 = tf.compat.v1
    asset = folder.parent / "labels.txt"
    asset.write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
    signs = np.array([(1, -1), (-1, 1)] * len(labels))[: len(labels)]
    weights = (8.0 * signs / (1 + np.arange(len(labels)) // 2)[:, None]).T

    def decode(encoded):
        image = tf.io.decode_image(encoded, 3, expand_animations=False)
        return tf.image.resize(image, [size_px, size_px], "area")

    with tf.Graph().as_default(), v1.Session() as session:
        images = v1.placeholder(tf.string, [None], name="fed")
        seen = tf.map_fn(
            decode, images, fn_output_signature=tf.TensorSpec([size_px, size_px, 3])
        )
        light = tf.reduce_mean(tf.nn.avg_pool2d(seen / 255.0, 2, 2, "VALID"), 3)
        maps = tf.stack([1.0 - light, light], axis=3)
        # A variable, so that restoring is tested too.
        kernel = v1.get_variable("kernel", initializer=np.float32(weights))
        positions = (size_px // 2) ** 2
        if head == "pool":
            logits = tf.reduce_mean(maps, [1, 2]) @ kernel
        else:
            flat = tf.reshape(maps, [-1, 2 * positions])
            spread = tf.tile(kernel / positions, [positions, 1])
            if head == "dense":
                flat = tf.tanh(flat * np.linspace(0.1, 2, 2 * positions, np.float32))
            logits = flat @ spread
        tensors = {"seen_images": seen, "logits": logits, "last_maps": maps}
        if head == "pool":
            tensors["class_weights"] = kernel
        for name in tensors.keys() & set(names):
            tf.identity(tensors[name], name=name)
        probabilities = tf.nn.softmax(logits)
        scores, order = tf.nn.top_k(probabilities, k=len(labels))
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, tf.constant(str(asset)))
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        outputs = {
            "probabilities": probabilities,
            "classes": tf.gather(tf.constant(list(labels)), order),
            "scores": scores,
        }
        builder.add_meta_graph_and_variables(
            session,
            [v1.saved_model.tag_constants.SERVING],
            signature_def_map={
                "predict_images": v1.saved_model.predict_signature_def(
                    {"images": images}, outputs
                )
            },
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
        )
        builder.save()
    asset.unlink()
    return folder


@pytest.fixture
def kubeflow_api(kubeflow_api_server, monkeypatch):
    """A Kubeflow Pipelines API on this machine, empty; no variable leads elsewhere."""
    for name in [*os.environ]:
        if name.startswith(("KFP_", "KF_PIPELINES_", "SLIMLINE_KUBEFLOW_")):
            monkeypatch.delenv(name)
    server = kubeflow_api_server.ApiServer()
    yield server
    server.close()


class Bucket:
    """A bucket on a loopback object store, and what lies in it.

    Attributes:
      name: of the bucket.
      uri: 's3://<name>'.
      client: boto3's.
    """

    def __init__(self, client, name: str):
        self.client = client
        self.name = name
        self.uri = f"s3://{name}"

    def keys(self, prefix: str = "") -> list[str]:
        """Keys of all objects, sorted."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=prefix
        )
        return sorted(
            entry["Key"] for page in pages for entry in page.get("Contents", ())
        )

    def read(self, key: str) -> bytes:
        """Content of an object."""
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def write(self, key: str, data: bytes) -> None:
        """Makes an object."""
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def delete(self, *keys: str) -> None:
        """Deletes objects."""
        for key in keys:
            self.client.delete_object(Bucket=self.name, Key=key)


@pytest.fixture(scope="session")
def object_store_address():
    """Address of a moto server that speaks S3 on loopback."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def object_store(object_store_address, monkeypatch, tmp_path_factory) -> str:
    """Address of the object store; this process and its children use it.

    The state of slimline is in a folder of its own, as on a new machine.
    """
    from storage import mirror, remote_data

    for name in [*os.environ]:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store_address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv(mirror.STATE_VARIABLE, str(tmp_path_factory.mktemp("state")))
    remote_data.local.cache_clear()
    return object_store_address


@pytest.fixture
def new_machine(object_store, monkeypatch, tmp_path_factory):
    """Function that takes what this machine has of object stores out of sight."""
    from storage import mirror, remote_data

    def forget() -> None:
        monkeypatch.setenv(mirror.STATE_VARIABLE, str(tmp_path_factory.mktemp("state")))
        remote_data.local.cache_clear()

    return forget


@pytest.fixture
def bucket(object_store) -> Bucket:
    """An empty bucket."""
    import boto3

    client = boto3.client("s3")
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    return Bucket(client, name)
