"""Slots of schedules and their ledger, on this machine and on Kubeflow."""
