"""PredictionLogs, as BulkInferrer and TensorFlow Serving write them, as readable rows."""

import dataclasses
import gzip
import pathlib
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    classification_pb2,
    model_pb2,
    predict_pb2,
    prediction_log_pb2,
)

from common.errors import ConfigError, DataError
from pushed_models import signatures
from schema import features, image_names
from serving.batch_inference import rows
from storage import durable

# Key, (label, score) best first, and what answered.
Answer = tuple[str, list[tuple[str, float]], str]

GZIP_SUFFIX = ".gz"
EXPECTED = (
    "TFRecords of tensorflow.serving.PredictionLog whose outputs are classes and scores"
)


@dataclasses.dataclass(frozen=True)
class Converted:
    """What was written.

    Attributes:
      output: file of the rows.
      images: rows.
      images_per_class: most probable class -> images, by name.
    """

    output: str
    images: int
    images_per_class: dict[str, int]


def convert(
    source: pathlib.Path, output: pathlib.Path, *, top: int = 3, replaces: bool = False
) -> Converted:
    """Writes the answers in PredictionLogs as rows, sorted by the images' keys.

    Args:
      source: folder of TFRecords, such as the artifact `inference_result`, or one file.
      output: NAME.csv or NAME.jsonl.
      top: how many classes to give an image, at most all.
      replaces: an existing output may go.

    Raises:
      ConfigError: the output exists or cannot be written.
      DataError: there are no logs, or they are damaged or of other models.
    """
    format = rows.format_of(output)
    if output.exists() and not replaces:
        raise ConfigError(f"{output} exists already", tip="--force replaces it")
    found = sorted(read(source, top), key=lambda row: row.file)
    if not found:
        raise DataError(
            f"no answers in {source}",
            expected=EXPECTED,
            tip="the BulkInferrer of a refused model leaves none",
        )
    width = max(len(row.top) for row in found)
    try:
        with durable.replacing(output) as file:
            file.write(rows.heading(format, width))
            file.write(rows.encode(format, found))
    except OSError as error:
        raise ConfigError(f"cannot write {output}: {error.strerror}") from error
    counts = Counter(row.top[0][0] for row in found)
    return Converted(str(output), counts.total(), dict(sorted(counts.items())))


def read(source: pathlib.Path, top: int) -> Iterator[rows.Row]:
    """A row for each image in the logs, in the order of the records.

    The name of an image is its `image/key`, or where it has none its place: a request may
    bring bytes alone. What answered is known where a server wrote the log.

    Args:
      source: folder of TFRecords, gzipped where their names end in .gz, or one file.
      top: how many classes a row has, at most all.

    Raises:
      DataError: there are no files, or one is damaged or of another kind.
    """
    for file in _files(source):
        compression = "GZIP" if file.suffix == GZIP_SUFFIX else ""
        if compression:
            _check_whole(file)
        dataset = tf.data.TFRecordDataset([str(file)], compression_type=compression)
        records = images = 0
        try:
            for record in dataset.as_numpy_iterator():
                log = prediction_log_pb2.PredictionLog.FromString(record)
                for key, answer, model in _answers(log):
                    name = key or f"{file.name}#{images}"
                    yield rows.Row(name, answer[:top], model)
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


def _check_whole(file: pathlib.Path) -> None:
    """Refuses gzipped data that are cut: TensorFlow takes the cut for the end."""
    try:
        if not file.stat().st_size:
            raise EOFError("the file is empty")
        with gzip.open(file) as content:
            while content.read(1 << 20):
                pass
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"cannot read {file}: {error}", expected=EXPECTED) from error


def _answers(log: prediction_log_pb2.PredictionLog) -> Iterator[Answer]:
    match log.WhichOneof("log_type"):
        case "predict_log":
            request, response = log.predict_log.request, log.predict_log.response
            keys = _keys_of_request(request)
            ranked = _ranked_outputs(response)
        case "classify_log":
            request, response = log.classify_log.request, log.classify_log.response
            keys = [_key(example) for example in request.input.example_list.examples]
            ranked = [_ranked(one) for one in response.result.classifications]
        case kind:
            raise ValueError(f"a log of kind '{kind}'")
    model = _name_of(response.model_spec)
    # A batch of bytes has no keys, and neither has a request that was logged without them.
    keys = keys or [""] * len(ranked)
    if len(keys) != len(ranked):
        raise ValueError(f"{len(ranked)} answers for {len(keys)} images")
    for key, best in zip(keys, ranked, strict=True):
        yield key, best, model


def _keys_of_request(request: predict_pb2.PredictRequest) -> list[str]:
    name = signatures.INPUTS[signatures.SERVING_DEFAULT]
    if name not in request.inputs:
        return []
    serialised = tf.make_ndarray(request.inputs[name]).ravel()
    return [_key(tf.train.Example.FromString(one)) for one in serialised]


def _key(example: tf.train.Example) -> str:
    feature = example.features.feature
    if features.KEY not in feature:
        return ""
    values = feature[features.KEY].bytes_list.value
    return values[0].decode("utf-8", "surrogateescape") if values else ""


def _ranked_outputs(
    response: predict_pb2.PredictResponse,
) -> list[list[tuple[str, float]]]:
    """Classes of each image with their scores, best first."""
    names = (signatures.CLASSES, signatures.SCORES)
    if missing := [name for name in names if name not in response.outputs]:
        raise ValueError(f"outputs without {' and '.join(missing)}")
    classes, scores = (tf.make_ndarray(response.outputs[name]) for name in names)
    return [
        _best_first([label.decode("utf-8", "replace") for label in some], of_some)
        for some, of_some in zip(classes, scores, strict=True)
    ]


def _ranked(found: classification_pb2.Classifications) -> list[tuple[str, float]]:
    return _best_first(
        [one.label for one in found.classes], [one.score for one in found.classes]
    )


def _best_first(
    labels: Sequence[str], scores: Sequence[float]
) -> list[tuple[str, float]]:
    pairs = list(zip(labels, map(float, scores), strict=True))
    if not pairs:
        raise ValueError("an answer without classes")
    return sorted(pairs, key=lambda pair: -pair[1])


def _name_of(spec: model_pb2.ModelSpec) -> str:
    """'cifar10@7'; '' in the logs of BulkInferrer, which knows a folder only."""
    if spec.name and spec.HasField("version"):
        return f"{spec.name}@{spec.version.value}"
    return spec.name
