"""The process that checks versions, so that a bad one takes this one down, not the server.

    python -P -m serving.local_server.check_process

It takes the path of a version as a JSON line on standard input and answers in JSON lines:
`{"is_ready": true}` once TensorFlow is imported, then for each version its stages and
`{"refusal": null or [code, reason], "notes": [...]}`.
"""

import contextlib
import json
import os
import pathlib
import queue
import sys
import threading
from typing import Any

# The server goes first.
NICENESS = 10
# And where memory runs out, this process goes before it.
OOM_SCORE = 1000


def main() -> None:
    """Answers until standard input ends."""
    # What libraries print must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(content: dict[str, Any]) -> None:
        print(json.dumps(content), file=answers, flush=True)

    os.nice(NICENESS)
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()

    from serving.local_server import inspection

    answer({"is_ready": True})
    while True:
        folder = pathlib.Path(json.loads(lines.get()))
        try:
            notes = inspection.inspect(folder, lambda stage: answer({"stage": stage}))
        except Exception as error:
            refusal = inspection.refusal(error, folder)
            answer({"refusal": [refusal.code.name, refusal.reason], "notes": []})
        else:
            answer({"refusal": None, "notes": notes})


def _read(lines: "queue.SimpleQueue[str]") -> None:
    """Hands requests on; ends the process with its server, whatever it is busy with."""
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
