"""What the server says of its models: TensorFlow Serving's status, and a list of our own."""

from typing import Any

import grpc
from tensorflow_serving.apis import get_model_status_pb2

from serving.local_server import errors
from serving.local_server.answering import Target

AVAILABLE = "AVAILABLE"
_CODE_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


def message(models: Any, target: Target) -> get_model_status_pb2.GetModelStatusResponse:
    """States of the versions that `target` means, the newest first.

    Raises:
      ServerError: there is no such model, version or label.
    """
    answer = get_model_status_pb2.GetModelStatusResponse()
    for found in _statuses(models, target):
        entry = answer.model_version_status.add()
        entry.version = found.version
        entry.state = entry.State.Value(found.state)
        entry.status.error_code = found.error_code
        entry.status.error_message = found.error_message
    return answer


def document(models: Any, target: Target) -> dict[str, Any]:
    """As `message`, in the JSON of TensorFlow Serving.

    Raises:
      ServerError: as `message`.
    """
    return {
        "model_version_status": [
            {
                "version": str(found.version),
                "state": found.state,
                "status": {
                    "error_code": _CODE_NAMES[found.error_code],
                    "error_message": found.error_message,
                },
            }
            for found in _statuses(models, target)
        ]
    }


def _statuses(models: Any, target: Target) -> Any:
    """In TensorFlow Serving's words where there is nothing to tell of."""
    name = errors.shown(target.name)
    try:
        return models.statuses(target.name, target.version, target.label)
    except errors.UnknownModel as error:
        raise errors.NotFound(f"Could not find any versions of model {name}") from error
    except errors.UnknownVersion as error:
        raise errors.NotFound(
            f"Could not find version {target.version} of model {name}"
        ) from error


def listing(models: Any) -> dict[str, Any]:
    """All models: classes, versions with their states, and which version answers.

    `problem` says why the folder of the models cannot be read, '' where it can.
    """
    return {
        "models": [_entry(models, name) for name in models.names()],
        "problem": models.problem,
    }


def _entry(models: Any, name: str) -> dict[str, Any]:
    answers, classes = None, []
    try:
        with models.find(name) as model:
            answers, classes = model.version, list(model.class_names)
    except errors.ServerError:
        pass
    return {
        "name": name,
        "answers": answers,
        "classes": classes,
        "labels": dict(models.labels(name)),
        "versions": [
            {
                "version": found.version,
                "state": found.state,
                "error": found.error_message if found.error_code else "",
            }
            for found in _known(models, name)
        ],
    }


def _known(models: Any, name: str) -> Any:
    try:
        return models.statuses(name)
    except errors.NotFound:
        # Its first version has not been looked at yet.
        return []
