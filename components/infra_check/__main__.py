"""The fresh process: the probe, with TensorFlow alone.

python -m components.infra_check MODEL RECORDED FINDINGS
"""

import sys

# TensorFlow takes Keras along, which takes pandas and matplotlib, and a client of Google's
# cloud where they are installed: half of the time that it needs to load. No model server
# has them.
LEFT_OUT = ("keras", "googleapiclient")

if __name__ == "__main__":
    for name in LEFT_OUT:
        # To import it fails, as where it is not installed.
        sys.modules[name] = None  # type: ignore[assignment]
    from components.infra_check import probe

    sys.exit(probe.main(sys.argv[1:]))
