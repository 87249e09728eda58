"""Pages about runs: HTML files that need nothing else."""

from schema import onednn

onednn.turn_on()
