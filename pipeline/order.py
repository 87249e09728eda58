"""The components in the order of a run. Airflow reads this file by itself: no imports."""

# Component -> those whose results it reads (`pipeline.dag`).
UPSTREAM: dict[str, tuple[str, ...]] = {
    "contract": (),
    "ingest": ("contract",),
    "statistics": ("contract", "ingest"),
    "check": ("contract", "ingest", "statistics"),
    "transform": ("contract", "ingest", "check"),
    "train": ("contract", "ingest", "transform"),
    "baseline": ("train",),
    "evaluate": ("ingest", "train", "baseline"),
    "infra": ("contract", "train"),
    "push": ("check", "train", "evaluate", "infra"),
    "infer": ("ingest", "train", "evaluate"),
}
# In every run; the others are options.
ALWAYS = tuple(name for name in UPSTREAM if name != "infer")
