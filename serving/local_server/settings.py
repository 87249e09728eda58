"""Settings of the engine."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Settings:
    """How versions are found, checked and asked.

    Attributes:
      max_batch_size: images that are answered together, at most.
      max_queue: images that may wait for a version; beyond it requests are refused.
      runners: batches of a version under way at the same time.
      threads: that share an operation; 0 lets TensorFlow decide. The first version that is
        loaded decides for all.
      poll_seconds: from one look at the models folder to the next.
      check_seconds: that the check of a version may take.
    """

    max_batch_size: int = 32
    max_queue: int = 1024
    runners: int = 1
    threads: int = 0
    poll_seconds: float = 1.0
    check_seconds: float = 120.0
