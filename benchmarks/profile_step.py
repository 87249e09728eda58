"""Where the time of a training step goes: seconds by kind of operation, from a trace.

Prints a table; operations of one step overlap on several cores, so the sum is more than the
step takes.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import tensorflow.compat.v1 as v1
import train_step
import worker_ours

from trainer.nets import registry

WARM_UP_STEPS = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Traces one step of ours and prints what it was made of."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", default="resnet_20")
    parser.add_argument(
        "--precision", choices=["bfloat16", "float32"], default="bfloat16"
    )
    parser.add_argument("--rows", type=int, default=20, help="kinds to print")
    options = parser.parse_args(arguments)
    task = train_step.make_task(registry.find(options.net), precision=options.precision)
    session, training, _ = worker_ours.build(task)
    for _ in range(WARM_UP_STEPS):
        session.run(training.train_op)
    metadata = v1.RunMetadata()
    session.run(
        training.train_op,
        options=v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE),
        run_metadata=metadata,
    )
    microseconds, count = by_kind(metadata.step_stats)
    total = sum(microseconds.values())
    print(f"{options.net}: {total / 1000:.1f} ms of operations in one step")
    for kind, spent in microseconds.most_common(options.rows):
        share = 100 * spent / total
        print(f"{kind:<46}{spent / 1000:9.1f} ms {share:5.1f} % {count[kind]:5} times")
    return 0


def by_kind(stats: Any) -> tuple[Counter[str], Counter[str]]:
    """Microseconds and number of the operations of each kind.

    Args:
      stats: `StepStats` of a trace.
    """
    microseconds: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for device in stats.dev_stats:
        for node in device.node_stats:
            # 'name = Kind(inputs)' for operations, the bare name for the runtime's own.
            kind = node.timeline_label.rpartition(" = ")[2].partition("(")[0]
            kind = kind or node.node_name
            microseconds[kind] += node.op_end_rel_micros - node.op_start_rel_micros
            count[kind] += 1
    return microseconds, count


if __name__ == "__main__":
    sys.exit(main())
