"""Imported by the server of `executors.server`, and by nothing else."""

from lowbg.executors.server import prepare

prepare()
