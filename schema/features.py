"""Names of the features that travel from ingest to serving.

An Example holds one image. The encoded bytes are JPEG or PNG: ingest turns every other
format into PNG, because those two are what TensorFlow decodes the same everywhere.
"""

ENCODED = "image/encoded"  # bytes, JPEG or PNG
FORMAT = "image/format"  # bytes, 'jpeg' or 'png'
HEIGHT = "image/height"  # int64, px
WIDTH = "image/width"  # int64, px
LABEL = "image/class/label"  # int64, index into the contract's labels
TEXT = "image/class/text"  # bytes, class name
KEY = "image/key"  # bytes, where the image stood in its source; unique in a dataset

RAW_FEATURES = (ENCODED, FORMAT, HEIGHT, WIDTH, LABEL, TEXT, KEY)

# What the Transform graph gives: float32 [batch, height, width, channels] and int64 [batch].
IMAGE_XF = "image_xf"
LABEL_XF = "label_xf"

TRAIN = "train"
EVAL = "eval"
TEST = "test"
SPLITS = (TRAIN, EVAL, TEST)

# The label of an image whose class the contract does not know. ExampleValidator stops such
# a run, with the class in words.
UNKNOWN_LABEL = -1
