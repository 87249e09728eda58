"""A worker that speaks the protocol and sleeps nowhere: its task holds its answers."""

import json
import sys

task = json.loads(sys.argv[1])
if "failure" in task:
    sys.exit(task["failure"])
facts = {"versions": {"fake": "1"}, "build_seconds": 0.0, "step_seconds": 0.5}
print(json.dumps(facts | {"steps_per_epoch": 10}), flush=True)
for line, seconds in zip(sys.stdin, task["seconds"], strict=False):
    request = json.loads(line)
    answer = {"seconds": seconds, "cpu_seconds": seconds, "loss": task["loss"]}
    print(json.dumps(answer | request), flush=True)
