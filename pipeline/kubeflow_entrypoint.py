"""The command in specs that were compiled before `pipeline.kubeflow.entrypoint` had its place.

Schedules on a Kubeflow server keep such specs, and run them in newer images of the project.
"""

import sys

from pipeline.kubeflow.entrypoint import main

if __name__ == "__main__":
    main(sys.argv[1:])
