"""Pages about runs: HTML files that need nothing else."""
