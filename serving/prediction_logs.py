"""PredictionLogs, as BulkInferrer and TensorFlow Serving write them, converted to rows."""

import dataclasses
import gzip
import pathlib
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from common.errors import ConfigError, DataError, os_errors_as
from pushed_models import signatures
from schema import features, image_names
from serving.batch_inference import rows
from storage import durable

_Ranked = list[tuple[str, float]]  # (label, score), best first
_OUTPUTS = (signatures.CLASSES, signatures.SCORES)
_EXAMPLES = signatures.INPUTS[signatures.SERVING_DEFAULT]
GZIP_SUFFIX = ".gz"
EXPECTED = (
    "TFRecords of tensorflow.serving.PredictionLog whose outputs are classes and scores"
)


@dataclasses.dataclass(frozen=True)
class Converted:
    """A finished conversion.

    Attributes:
      output: file of the rows.
      images: number of rows.
      images_per_class: most probable class -> images, sorted by name.
    """

    output: str
    images: int
    images_per_class: dict[str, int]


def convert(
    source: pathlib.Path, output: pathlib.Path, *, top: int = 3, replaces: bool = False
) -> Converted:
    """Writes the predictions in PredictionLogs as rows, sorted by the keys of the images.

    Args:
      source: folder of TFRecords, such as the artifact `inference_result`, or one file.
      output: NAME.csv or NAME.jsonl.
      top: classes of an image, at most all.
      replaces: whether to replace an existing output.

    Raises:
      ConfigError: the output exists or cannot be written.
      DataError: there are no logs, or they are damaged or of other models.
    """
    format = rows.format_of(output)
    if output.exists() and not replaces:
        raise ConfigError(f"{output} exists already", tip="--force replaces it")
    table = sorted(read(source, top), key=lambda row: row.file)
    if not table:
        raise DataError(
            f"no predictions in {source}",
            expected=EXPECTED,
            tip="the BulkInferrer of a refused model leaves none",
        )
    width = max(len(row.top) for row in table)
    failed = os_errors_as(ConfigError, f"cannot write {output}")
    with failed, durable.replacing(output) as file:
        file.write(rows.heading(format, width))
        file.write(rows.encode(format, table))
    counts = Counter(row.top[0][0] for row in table)
    return Converted(str(output), counts.total(), dict(sorted(counts.items())))


def read(source: pathlib.Path, top: int) -> Iterator[rows.Row]:
    """A row for each image in the logs, in the order of the records.

    An image is named after its `image/key`, or after its file and place there: a request
    may hold bytes alone. Only logs of a server name the model.

    Args:
      source: folder of TFRecords, gzipped if their names end in .gz, or one file.
      top: classes of a row, at most all.

    Raises:
      DataError: there are no files, or one is damaged or of another kind.
    """
    for file in _files(source):
        compression = "GZIP" if file.suffix == GZIP_SUFFIX else ""
        if compression:
            _check_complete(file)
        dataset = tf.data.TFRecordDataset([str(file)], compression_type=compression)
        records = images = 0
        try:
            for record in dataset.as_numpy_iterator():
                log = prediction_log_pb2.PredictionLog.FromString(record)
                for key, ranked, model in _predictions(log):
                    name = key or f"{file.name}#{images}"
                    yield rows.Row(name, ranked[:top], model)
                    images += 1
                records += 1
        except (tf.errors.OpError, DecodeError, ValueError) as error:
            raise DataError(
                f"cannot read record {records:,} of {file}",
                found=str(error).partition("\n")[0],
                expected=EXPECTED,
            ) from error


def _files(source: pathlib.Path) -> list[pathlib.Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise DataError(f"no logs at {source}", expected="a folder or a file of them")
    return sorted(
        path
        for path in source.iterdir()
        if path.is_file() and not image_names.is_litter(path.name)
    )


def _check_complete(file: pathlib.Path) -> None:
    """Refuses a truncated gzip file, whose end TensorFlow takes for that of the records."""
    try:
        if not file.stat().st_size:
            raise EOFError("the file is empty")
        with gzip.open(file) as content:
            while content.read(1 << 20):
                pass
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"cannot read {file}: {error}", expected=EXPECTED) from error


def _predictions(
    log: prediction_log_pb2.PredictionLog,
) -> Iterator[tuple[str, _Ranked, str]]:
    """Key, classes best first, and model of each image in a log."""
    match log.WhichOneof("log_type"):
        case "predict_log":
            request, response = log.predict_log.request, log.predict_log.response
            if missing := [name for name in _OUTPUTS if name not in response.outputs]:
                raise ValueError(f"outputs without {' and '.join(missing)}")
            classes, scores = (
                tf.make_ndarray(response.outputs[name]).tolist() for name in _OUTPUTS
            )
            ranked = [
                _best_first([label.decode("utf-8", "replace") for label in some], best)
                for some, best in zip(classes, scores, strict=True)
            ]
            keys: list[str] = []
            if _EXAMPLES in request.inputs:
                serialised = tf.make_ndarray(request.inputs[_EXAMPLES]).ravel()
                keys = [_key(tf.train.Example.FromString(one)) for one in serialised]
        case "classify_log":
            request, response = log.classify_log.request, log.classify_log.response
            keys = [_key(example) for example in request.input.example_list.examples]
            ranked = [
                _best_first(
                    [c.label for c in one.classes], [c.score for c in one.classes]
                )
                for one in response.result.classifications
            ]
        case kind:
            raise ValueError(f"a log of kind '{kind}'")
    # The logs of BulkInferrer name no model.
    spec = response.model_spec
    version = f"@{spec.version.value}" if spec.HasField("version") else ""
    # A batch of bytes has no keys, and neither has a request that was logged without them.
    keys = keys or [""] * len(ranked)
    if len(keys) != len(ranked):
        raise ValueError(f"{len(ranked)} predictions for {len(keys)} images")
    for key, best in zip(keys, ranked, strict=True):
        yield key, best, spec.name and spec.name + version


def _key(example: tf.train.Example) -> str:
    feature = example.features.feature
    if features.KEY not in feature:
        return ""
    values = feature[features.KEY].bytes_list.value
    return values[0].decode("utf-8", "surrogateescape") if values else ""


def _best_first(labels: Sequence[str], scores: Sequence[float]) -> _Ranked:
    pairs = list(zip(labels, scores, strict=True))
    if not pairs:
        raise ValueError("a prediction without classes")
    return sorted(pairs, key=lambda pair: -pair[1])
