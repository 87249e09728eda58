"""What a served model must offer: signatures, their tensors, an asset.

And where the Trainer records what its own graph answers, to hold the served model against.
"""

SERVING_DEFAULT = "serving_default"
PREDICT_IMAGES = "predict_images"
# The input of each signature, string [batch]: serialised Examples, or encoded images.
INPUTS = {SERVING_DEFAULT: "examples", PREDICT_IMAGES: "images"}

PROBABILITIES = "probabilities"  # float32 [batch, num_classes], in label order
CLASSES = "classes"  # string [batch, num_classes], best first
SCORES = "scores"  # float32 [batch, num_classes], best first
# Output -> dtype; all are [batch, num_classes].
OUTPUTS = {PROBABILITIES: "float32", CLASSES: "string", SCORES: "float32"}

LABELS_ASSET = "labels.txt"

# In the Trainer's `model_run`: Examples with `image/encoded` and `probabilities`, GZIP.
RECORDED_FILE = "recorded_outputs.tfrecord.gz"
