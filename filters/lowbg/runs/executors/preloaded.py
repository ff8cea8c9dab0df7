"""Imported by the server of `executors.server`, and by nothing else."""

from lowbg.runs.executors.server import prepare

prepare()
