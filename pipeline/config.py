"""The configuration of a pipeline: a tree of frozen dataclasses."""

import dataclasses
from typing import Literal

from trainer.config import (
    AugmentationConfig,
    Fraction,
    ModelConfig,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    PreprocessingConfig,
    ScheduleConfig,
    Share,
    TrainConfig,
    TrainerConfig,
    setting,
)

EngineName = Literal["local", "multiprocess", "portable", "flink", "spark", "dataflow"]
Trait = Literal["size", "colour", "source"]
Split = Literal["train", "eval", "test"]


@dataclasses.dataclass(frozen=True)
class ColumnsConfig:
    """Columns of the table that lists the images; empty ones are detected."""

    path: str = setting("", "column that names the image files")
    label: str = setting("", "column with the classes")
    split: str = setting("", "column with the splits")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The images, their split, and the limits of their check."""

    path: str = setting(
        "",
        "folder or archive of the images, or a pattern of spans as flowers/{SPAN} or"
        " {YYYY}-{MM}-{DD}/v{VERSION}.zip; --data sets it; digits needs none",
    )
    span: int = setting(
        -1, "newest span of the pattern to train on; -1 takes the newest"
    )
    window_spans: PositiveInt = setting(1, "number of the newest spans to train on")
    contract: str = setting(
        "", "data contract, by name or folder; empty means schema/<name of the data>"
    )
    init_contract: bool = setting(
        True,
        "write a missing contract to schema/<name of the data> after a look at the data;"
        " false makes it an error, as --no-init does",
    )
    format: str = setting(
        "auto", "layout of the data, a name from docs/data.md; auto detects it"
    )
    subset: str = setting(
        "", "one of several data sets in one place, as the six in EMNIST's archive"
    )
    class_from: Literal["auto", "folder", "parent", "name"] = setting(
        "auto",
        "where the class of an image comes from: its top folder (folder), its own folder"
        " (parent), or its file name before the number (name)",
    )
    splits: tuple[str, ...] = setting(
        (),
        "splits of folders, or of words in a table, that auto does not know, as"
        " [holdout_2=test, extra=train, drafts=none]; none leaves the images out",
    )
    columns: ColumnsConfig = dataclasses.field(default_factory=ColumnsConfig)
    eval_fraction: Fraction = setting(
        0.1, "share of train to use as eval where the data have none"
    )
    test_fraction: Fraction = setting(
        0.15, "share of train to use as test where the data have none"
    )
    split_seed: NonNegativeInt = setting(
        0, "another value takes other images of train for eval and test"
    )
    group_by: str = setting(
        "",
        "groups of images to keep in one split, as those of a patient: column:NAME of a"
        " table, path:N for the N-th folder below the class, path:REGEX with one group, or"
        " looks for pictures that were saved again; empty splits single images",
    )
    max_unreadable_share: Share = setting(
        0.01, "largest share of unreadable images; a run with more fails"
    )
    max_drift: Share = setting(
        0.1,
        "largest change of image size, brightness and contrast since the data of the live"
        " model (Jensen-Shannon divergence); 0 sets no limit",
    )
    max_label_drift: Share = setting(
        0.15, "largest change of a class's share since then; 0 sets no limit"
    )
    max_skew: Share = setting(
        0.0,
        "largest distance of eval and test from train, by both measures; 0 sets no limit",
    )
    max_imbalance: NonNegativeFloat = setting(
        0.0, "largest ratio of the images of two classes in train; 0 sets no limit"
    )
    check_images: NonNegativeInt = setting(
        10_000,
        "check up to this many images for the report: duplicates, odd images, doubtful"
        " labels; slimline data check does it for larger sets",
    )


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """What a model must reach on the test split to be blessed."""

    min_top_1: Share = setting(0.5, "lowest top-1 accuracy that passes")
    max_top_1_drop: Share = setting(
        0.005, "largest fall of top-1 below that of the last blessed model"
    )
    needs_real_gain: bool = setting(
        False,
        "refuse a model that is not better than the last blessed one by more than noise,"
        " the 95 % interval of the difference on the same images",
    )
    min_class_recall: Share = setting(0.0, "lowest recall of a class that passes")
    class_changes: Literal["allow", "ask", "refuse"] = setting(
        "ask",
        "what to do with a model whose classes are not those of the live one: push it"
        " (allow), push it only with slimline run --accept-classes (ask), or never (refuse)",
    )
    min_test_images: NonNegativeInt = setting(
        30,
        "with fewer test images compare min_top_1 with a cross-validation of the class"
        " layer over the other images (train.fit_head, up to 1,000 images), and ignore drops"
        " of top-1 within noise",
    )
    beats_guessing: bool = setting(
        True,
        "refuse a model that is no better than one answer for all images, or never finds a"
        " class of five test images or more",
    )
    refuse_warnings: bool = setting(
        False,
        "refuse a model whose training gave a warning, as of moving averages that have not"
        " converged",
    )
    floors: tuple[str, ...] = setting(
        (), "lowest top-1 of single slices, as [class:cat=0.8, colour:gray=0.7]"
    )
    top_k: tuple[PositiveInt, ...] = setting(
        (5,), "top-k accuracies to measure, where there are more classes than k"
    )
    slices: tuple[Trait, ...] = setting(
        ("size", "colour", "source"),
        "traits that slice test, beside the class: longer side, gray or colour, file or"
        " folder of the image",
    )


# Passes every model: for runs that deploy nothing, or try the pipeline.
OPEN_GATE = EvaluationConfig(min_top_1=0.0, max_top_1_drop=1.0, beats_guessing=False)


@dataclasses.dataclass(frozen=True)
class InfraConfig:
    """What a model must fulfil to be served, whatever its accuracy."""

    validator: Literal["process", "tf_serving"] = setting(
        "process",
        "what loads the model: a fresh process here, which compares its answers with those"
        " of training, or TensorFlow Serving in Docker, which must load it and answer",
    )
    max_difference: NonNegativeFloat = setting(
        1e-4, "largest difference of a served probability from that of training"
    )
    max_latency_ms: NonNegativeFloat = setting(
        0.0, "highest p99 latency of single images that passes; 0 sets no limit"
    )
    max_size_mb: NonNegativeFloat = setting(
        0.0, "largest SavedModel that passes, in MB; 0 sets no limit"
    )


@dataclasses.dataclass(frozen=True)
class BulkInferenceConfig:
    """Inputs of TFX's BulkInferrer."""

    splits: tuple[Split, ...] = setting(
        (),
        "splits that a blessed model classifies, as PredictionLogs; none skips the step",
    )


@dataclasses.dataclass(frozen=True)
class ServingConfig:
    """Where a blessed model goes."""

    model_name: str = setting(
        "", "folder under <root>/serving; empty means the name of the data set"
    )
    force_push: str = setting(
        "",
        "why a model with an open gate may replace a version that had to pass thresholds;"
        " the history keeps it; --force-push sets it",
    )


@dataclasses.dataclass(frozen=True)
class EngineConfig:
    """Where the Beam jobs run: ingest, statistics, transform, evaluation, inference."""

    name: EngineName = setting(
        "local",
        "in this process (local), in worker processes (multiprocess), through a job service"
        " (portable), or on a cluster of Flink, Spark or Dataflow",
    )
    workers: NonNegativeInt = setting(
        0, "worker processes; 0 is one per processor, or lets the cluster decide"
    )
    job_endpoint: str = setting(
        "", "host:port of Beam's job service; empty starts one for the run"
    )
    artifact_endpoint: str = setting(
        "", "host:port where the service takes files; empty asks the service"
    )
    environment_type: Literal["", "DOCKER", "EXTERNAL", "PROCESS", "LOOPBACK"] = (
        setting(
            "", "Python of a cluster's workers; empty, for a local master, is the run's"
        )
    )
    environment_config: str = setting(
        "", "image (DOCKER), host:port (EXTERNAL) or JSON with the command (PROCESS)"
    )
    flink_master: str = setting("", "host:port of Flink; empty starts one")
    spark_master: str = setting(
        "", "as spark://host:7077; empty starts a Spark with four threads"
    )
    job_server_jar: str = setting(
        "",
        "file of Beam's job server for Flink or Spark; empty downloads it from Maven",
    )
    project: str = setting("", "project of Google Cloud, for Dataflow")
    region: str = setting("", "region of Dataflow")
    bucket: str = setting("", "gs:// folder for Dataflow's own files")
    service_account: str = setting("", "account of Dataflow's workers, if not default")
    worker_image: str = setting("", "image of Dataflow's workers")


@dataclasses.dataclass(frozen=True)
class PipelineConfig:
    """One experiment.

    Attributes:
      name: of the experiment, [a-z0-9_].
      is_tiny: the smallest form of it, whose models have a name of their own.
    """

    name: str = setting("", "name of the experiment")
    is_tiny: bool = setting(
        False,
        "two steps with few pixels, to try the pipeline, for the model <model name>-tiny;"
        " --tiny sets it",
    )
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    preprocessing: PreprocessingConfig = dataclasses.field(
        default_factory=PreprocessingConfig
    )
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    augmentation: AugmentationConfig = dataclasses.field(
        default_factory=AugmentationConfig
    )
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    schedule: ScheduleConfig = dataclasses.field(default_factory=ScheduleConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)
    infra: InfraConfig = dataclasses.field(default_factory=InfraConfig)
    bulk_inference: BulkInferenceConfig = dataclasses.field(
        default_factory=BulkInferenceConfig
    )
    serving: ServingConfig = dataclasses.field(default_factory=ServingConfig)
    engine: EngineConfig = dataclasses.field(default_factory=EngineConfig)

    @property
    def trainer(self) -> TrainerConfig:
        """The part that Transform and Trainer read."""
        return TrainerConfig(
            **{
                field.name: getattr(self, field.name)
                for field in dataclasses.fields(TrainerConfig)
            }
        )
