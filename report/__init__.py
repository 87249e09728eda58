"""Pages about runs: HTML files that need nothing else."""

from common import onednn

onednn.turn_on()
