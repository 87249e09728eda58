"""The whole configuration of a pipeline: one tree of frozen dataclasses."""

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
    """Columns of the table that lists the images; empty ones are looked for."""

    path: str = setting("", "column that names the image files")
    label: str = setting("", "column with the classes")
    split: str = setting("", "column with the splits")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which images, and how they are split."""

    path: str = setting(
        "",
        "folder or archive of the images, or a pattern of spans as flowers/{SPAN} or"
        " {YYYY}-{MM}-{DD}/v{VERSION}.zip; --data sets it; digits brings its own",
    )
    span: int = setting(
        -1, "newest span of the pattern to train on; -1 takes the newest that is there"
    )
    window_spans: PositiveInt = setting(
        1, "train on so many of the newest spans together"
    )
    contract: str = setting(
        "",
        "data set whose schema and labels hold, by name or folder;"
        " empty means schema/<name of the data>",
    )
    init_contract: bool = setting(
        True,
        "where the data have no contract yet, write it to schema/<name of the data> after a"
        " look at them; false makes that an error, as --no-init does",
    )
    format: str = setting(
        "auto", "layout of the data, a name from docs/data.md; auto looks at it"
    )
    subset: str = setting(
        "",
        "which of several data sets that lie together, as the six kinds in EMNIST's archive",
    )
    class_from: Literal["auto", "folder", "parent", "name"] = setting(
        "auto",
        "what an image's class is: its top folder (folder), the folder it lies in (parent),"
        " or its own name before the number (name)",
    )
    splits: tuple[str, ...] = setting(
        (),
        "splits of folders, or of words in a table, that auto does not know, as"
        " [holdout_2=test, extra=train, drafts=none]; none leaves the images out",
    )
    columns: ColumnsConfig = dataclasses.field(default_factory=ColumnsConfig)
    eval_fraction: Fraction = setting(
        0.1, "share of train cut for eval where the data bring no eval"
    )
    test_fraction: Fraction = setting(
        0.15, "share of train cut for test where the data bring no test"
    )
    split_seed: NonNegativeInt = setting(
        0, "another value cuts other images from train for eval and test"
    )
    group_by: str = setting(
        "",
        "what names the groups of images that one split must hold whole, as those of a"
        " patient: column:NAME of a table, path:N for the N-th folder below the class,"
        " path:REGEX with one group, or looks for pictures that were saved again; empty takes"
        " each image by itself",
    )
    max_unreadable_share: Share = setting(
        0.01, "the run fails when a larger share of the images cannot be read"
    )
    max_drift: Share = setting(
        0.1,
        "how far sizes, brightness and contrast of the images may have moved from those"
        " that the live model was trained on (Jensen-Shannon divergence); 0 sets no limit",
    )
    max_label_drift: Share = setting(
        0.15,
        "how much the share of a class may have changed since then; 0 sets no limit",
    )
    max_skew: Share = setting(
        0.0,
        "how far eval and test may lie from train, by both measures; 0 sets no limit",
    )
    max_imbalance: NonNegativeFloat = setting(
        0.0, "most images of a class in train for one of another; 0 sets no limit"
    )
    check_images: NonNegativeInt = setting(
        10_000,
        "sets of up to so many images are checked for the report: duplicates, odd images,"
        " doubtful labels; slimline data check does it for larger ones",
    )


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """What a model must reach on the test split to be blessed."""

    min_top_1: Share = setting(0.5, "lowest top-1 accuracy that is let through")
    max_top_1_drop: Share = setting(
        0.005, "how far top-1 may fall below that of the last blessed model"
    )
    needs_real_gain: bool = setting(
        False,
        "refuse a model that is not better than the last blessed one by more than noise,"
        " the 95 % interval of the difference on the same images",
    )
    min_class_recall: Share = setting(
        0.0, "lowest recall of any class that is let through"
    )
    class_changes: Literal["allow", "ask", "refuse"] = setting(
        "ask",
        "what to do with a model whose classes are not those of the live one: push it"
        " (allow), push it only with slimline run --accept-classes (ask), or never (refuse)",
    )
    min_test_images: NonNegativeInt = setting(
        30,
        "with fewer test images min_top_1 is held against a cross-validation of the class"
        " layer over the other images (train.fit_head, up to 1,000 images), and"
        " max_top_1_drop counts only what is beyond noise",
    )
    beats_guessing: bool = setting(
        True,
        "refuse a model that is no better than one answer for all images, or never finds a"
        " class of five test images or more",
    )
    refuse_warnings: bool = setting(
        False,
        "refuse a model whose training gave a warning, as of moving averages that do not"
        " follow the data",
    )
    floors: tuple[str, ...] = setting(
        (), "lowest top-1 of single slices, as [class:cat=0.8, colour:gray=0.7]"
    )
    top_k: tuple[PositiveInt, ...] = setting(
        (5,), "which top-k accuracies are measured, where there are more classes than k"
    )
    slices: tuple[Trait, ...] = setting(
        ("size", "colour", "source"),
        "traits by which test is sliced, beside the class: longer side, gray or colour,"
        " file or folder the image came from",
    )


# Lets every model through: for runs that deploy nothing, or try the chain.
OPEN_GATE = EvaluationConfig(min_top_1=0.0, max_top_1_drop=1.0, beats_guessing=False)


@dataclasses.dataclass(frozen=True)
class InfraConfig:
    """What a model must keep to be served, whatever its accuracy."""

    validator: Literal["process", "tf_serving"] = setting(
        "process",
        "who loads the model: a fresh process here, whose answers are held against those"
        " of training, or TensorFlow Serving in Docker, which must load it and answer",
    )
    max_difference: NonNegativeFloat = setting(
        1e-4, "how far a served probability may be from the one that training computed"
    )
    max_latency_ms: NonNegativeFloat = setting(
        0.0, "highest p99 latency of single images that is let through; 0 sets no limit"
    )
    max_size_mb: NonNegativeFloat = setting(
        0.0, "largest SavedModel that is let through, in MB; 0 sets no limit"
    )


@dataclasses.dataclass(frozen=True)
class BulkInferenceConfig:
    """What TFX's BulkInferrer asks a blessed model."""

    splits: tuple[Split, ...] = setting(
        (),
        "splits whose images a blessed model answers in the run, as PredictionLogs; none"
        " leaves the step out",
    )


@dataclasses.dataclass(frozen=True)
class ServingConfig:
    """Where a blessed model goes."""

    model_name: str = setting(
        "", "folder under <root>/serving; empty means the name of the data set"
    )
    force_push: str = setting(
        "",
        "why a model may replace a version that had to pass thresholds although its own"
        " gate is open; kept in the history, --force-push sets it",
    )


@dataclasses.dataclass(frozen=True)
class EngineConfig:
    """Where the Beam jobs run: ingest, statistics, transform, evaluation, inference."""

    name: EngineName = setting(
        "local",
        "in this process (local), in processes beside it (multiprocess), through a job"
        " service (portable), or on a cluster of Flink, Spark or Dataflow",
    )
    workers: NonNegativeInt = setting(
        0, "worker processes; 0 is one per processor, or what the cluster decides"
    )
    job_endpoint: str = setting(
        "", "host:port of Beam's job service; empty starts one for the run"
    )
    artifact_endpoint: str = setting(
        "", "host:port where the service takes files; empty is what it says itself"
    )
    environment_type: Literal["", "DOCKER", "EXTERNAL", "PROCESS", "LOOPBACK"] = (
        setting(
            "",
            "where the Python of a cluster's workers comes from; empty, for a master on"
            " this machine, is the run's own",
        )
    )
    environment_config: str = setting(
        "",
        "image (DOCKER), host:port of a pool of workers (EXTERNAL) or JSON with the command"
        " (PROCESS)",
    )
    flink_master: str = setting("", "host:port of Flink; empty is a Flink of its own")
    spark_master: str = setting(
        "", "as spark://host:7077; empty is a Spark of its own, with four threads"
    )
    job_server_jar: str = setting(
        "",
        "file of Beam's job server for Flink or Spark; empty lets Beam fetch it from Maven",
    )
    project: str = setting("", "project of Google Cloud, for Dataflow")
    region: str = setting("", "region of Dataflow")
    bucket: str = setting("", "gs:// folder for Dataflow's own files")
    service_account: str = setting(
        "", "account of Dataflow's workers; empty its default"
    )
    worker_image: str = setting("", "image of Dataflow's workers")


@dataclasses.dataclass(frozen=True)
class PipelineConfig:
    """One experiment.

    Attributes:
      name: of the experiment, [a-z0-9_].
      is_tiny: the smallest form of it, whose models never stand beside real ones.
    """

    name: str = setting("", "name of the experiment")
    is_tiny: bool = setting(
        False,
        "two steps with few pixels, to try the chain; --tiny sets it, and the model goes to"
        " <model name>-tiny",
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
        """The part that travels to Transform and Trainer."""
        return TrainerConfig(
            **{
                field.name: getattr(self, field.name)
                for field in dataclasses.fields(TrainerConfig)
            }
        )
