"""The fresh process: the probe, with TensorFlow alone.

python -m components.infra_check MODEL RECORDED FINDINGS
"""

import sys

# What TensorFlow takes along where it is installed, and no model server has: Keras, which
# takes pandas and matplotlib (Keras 2 where TensorFlow Transform has set its variable for the
# run), and a client of Google's cloud. They take up to half of the time that it loads.
LEFT_OUT = ("keras", "tf_keras", "googleapiclient")

if __name__ == "__main__":
    for name in LEFT_OUT:
        # To import it fails, as where it is not installed.
        sys.modules[name] = None  # type: ignore[assignment]
    from components.infra_check import probe

    sys.exit(probe.main(sys.argv[1:]))
