"""Names of what a run leaves in its folder: the pipeline writes it, the report reads it."""

CONFIG_FILE = "config.json"
LOG_FILE = "log.txt"
SUMMARY_FILE = "summary.json"
REPORT_FILE = "report.html"
# In the Trainer's `model_run`: the training in one object, with net, steps, best measurement.
TRAINING_FILE = "training.json"
CURVES_FILE = "curves.png"
# In the root, not in the folder of a run: ML Metadata's store.
METADATA_FILE = "metadata.sqlite"
# What is odd about the images of the run; `slimline data check --output` writes the same.
DATA_CHECK_FILE = "data_check.json"
# All settings of a member; config.json of the sweep has those that the members share.
MEMBER_SETTINGS_FILE = "settings.json"
# The SavedModel in the artifact of a training, as TFX's path_utils.serving_model_path names
# it, whose module takes seconds to load.
SERVED_FOLDER = "Format-Serving"
