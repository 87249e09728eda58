"""Worker: trains the same net by the `fit` of Keras 3, or of tf_keras (Keras 2)."""

import importlib
from typing import Any

import tensorflow as tf
import worker_ours
import worker_protocol
from peers import keras_nets

from trainer.nets import registry


def make(task: dict[str, Any]) -> tuple[dict[str, Any], worker_protocol.RunSteps]:
    """Builds and compiles the model.

    Args:
      task: as for `worker_ours.make`, and `library` ('keras' or 'tf_keras') and `mode`.
        Modes: 'default' is mixed precision and `jit_compile` left alone (Keras 3 turns XLA
        off where there are processors only); 'xla' turns XLA on; 'onednn' takes bfloat16
        from TensorFlow's pass for oneDNN, as ours does, in place of mixed precision.
    """
    keras: Any = importlib.import_module(task["library"])
    spec, mode = registry.find(task["net"]), task["mode"]
    if task["precision"] == "bfloat16" and mode == "onednn":
        tf.config.optimizer.set_experimental_options(
            {"auto_mixed_precision_onednn_bfloat16": True}
        )
    elif task["precision"] == "bfloat16":
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    model = keras_nets.build(
        keras,
        spec,
        num_classes=task["num_classes"],
        image_size_px=task["image_size_px"],
        weight_decay=task["weight_decay"],
    )
    arguments = {"jit_compile": True} if mode == "xla" else {}
    model.compile(
        optimizer=keras.optimizers.SGD(
            task["learning_rate"], momentum=task["momentum"], nesterov=True
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        **arguments,
    )
    dataset = worker_ours.fixed_batches(task, spec.channels)

    def run_steps(steps: int) -> float:
        history = model.fit(dataset, epochs=1, steps_per_epoch=steps, verbose=0)
        return float(history.history["loss"][-1])

    versions = {"tensorflow": tf.__version__, task["library"]: keras.__version__}
    parameters = sum(int(weight.numpy().size) for weight in model.trainable_weights)
    facts = {
        "versions": versions,
        "parameters": parameters,
        "jit_compile": bool(getattr(model, "jit_compile", False)),
    }
    return facts, run_steps


if __name__ == "__main__":
    worker_protocol.serve(make)
