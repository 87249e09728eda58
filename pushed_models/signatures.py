"""What a served model must offer: signatures, their tensors, an asset.

And where the Trainer records what its own graph answers, to hold the served model against.
"""

SERVING_DEFAULT = "serving_default"
PREDICT_IMAGES = "predict_images"
CLASSIFY = "classify"
# The input of each signature, string [batch]: serialised Examples, or encoded images.
INPUTS = {SERVING_DEFAULT: "examples", PREDICT_IMAGES: "images", CLASSIFY: "inputs"}
# Which call of TensorFlow Serving takes it: Classify refuses a signature of Predict.
_PREDICT_METHOD = "tensorflow/serving/predict"
METHODS = {
    SERVING_DEFAULT: _PREDICT_METHOD,
    PREDICT_IMAGES: _PREDICT_METHOD,
    CLASSIFY: "tensorflow/serving/classify",
}

PROBABILITIES = "probabilities"  # float32 [batch, num_classes], in label order
CLASSES = "classes"  # string [batch, num_classes], best first
SCORES = "scores"  # float32 [batch, num_classes], best first
# Signature -> output -> dtype; all are [batch, num_classes].
_BEST_FIRST = {CLASSES: "string", SCORES: "float32"}
OUTPUTS = {
    SERVING_DEFAULT: {PROBABILITIES: "float32", **_BEST_FIRST},
    PREDICT_IMAGES: {PROBABILITIES: "float32", **_BEST_FIRST},
    CLASSIFY: _BEST_FIRST,
}

# A further signature of models that average over test-time views. It takes what SERVING_DEFAULT
# takes and gives PROBABILITIES beside those of the images as they are.
VIEWS_COMPARED = "views_compared"
PLAIN_PROBABILITIES = "plain_probabilities"

LABELS_ASSET = "labels.txt"

# Tensors of the graph that belong to no signature; an explanation of an answer reads them.
# The images that the net sees before standardisation, float32 [batch, image_size_px,
# image_size_px, channels] in [0, 255].
SEEN_IMAGES = "seen_images"
# float32 [batch, num_classes]; with test-time views those of the image as it is, like the
# tensors below.
LOGITS = "logits"
# float32 [batch, height, width, channels]: the last layer whose output still has positions.
# Nets without such a layer lack it.
LAST_MAPS = "last_maps"
# float32 [channels, num_classes]; only where the class layer reads the mean of each map.
CLASS_WEIGHTS = "class_weights"

# In the Trainer's `model_run`: Examples with `image/encoded` and `probabilities`, GZIP.
# A copy of it goes with the model, in `assets.extra`.
RECORDED_FILE = "recorded_outputs.tfrecord.gz"
# TensorFlow Serving looks in `assets.extra` for this name; it takes no more records.
WARM_UP_FILE = "tf_serving_warmup_requests"
MAX_WARM_UP_RECORDS = 1000
# In `assets.extra` of a model that was made from few images: how a cross-validation went,
# {"hits": right answers, "images": asked, "folds": class layers fitted}.
CROSS_VALIDATION_FILE = "cross_validation.json"
# The same place: what the training had to say, a list of sentences.
WARNINGS_FILE = "training_warnings.json"
# The same place: which views of an image the answers average over, a name of
# `model.test_time_views`; only where there is more than the image itself.
VIEWS_FILE = "test_time_views.json"
# The same place: by what rule test images were kept from the training (`split_rule`).
SPLIT_RULE_FILE = "split_rule.json"
