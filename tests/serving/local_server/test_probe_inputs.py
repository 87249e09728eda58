"""What a version is tried with is read from what was pushed along."""

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from schema import images, manifest, signatures
from serving.local_server import probe_inputs


def test_warm_up_takes_the_requests_of_tensorflow_serving(tmp_path, example, png):
    logs = []
    for name in ("predict_images", ""):
        log = prediction_log_pb2.PredictionLog()
        log.predict_log.request.model_spec.signature_name = name
        tensor = tf.make_tensor_proto([b"a", b"b"], tf.string, [2])
        log.predict_log.request.inputs["x"].CopyFrom(tensor)
        logs.append(log)
    log = prediction_log_pb2.PredictionLog()
    log.classify_log.request.model_spec.signature_name = "classify"
    added = log.classify_log.request.input.example_list.examples.add()
    added.ParseFromString(example(png(1, 2, 3)))
    logs += [log, prediction_log_pb2.PredictionLog()]
    path = tmp_path / manifest.EXTRA_FOLDER / signatures.WARM_UP_FILE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            writer.write(log.SerializeToString())
    assert probe_inputs.warm_up(tmp_path) == {
        "predict_images": [b"a", b"b"],
        "serving_default": [b"a", b"b"],
        "classify": [example(png(1, 2, 3))],
    }


def test_else_the_recorded_images_or_a_gray_one_go_to_each_signature(
    write_model, tmp_path, example
):
    folder = write_model(tmp_path, 7)
    found = probe_inputs.warm_up(folder)
    assert set(found) == set(signatures.INPUTS)
    encoded = probe_inputs.read_recorded(folder).encoded
    assert found["predict_images"] == encoded
    assert found["classify"] == [example(one) for one in encoded]
    (gray,) = probe_inputs.warm_up(tmp_path / "nothing")["predict_images"]
    assert images.check_image(gray).reason == ""
