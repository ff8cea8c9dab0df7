"""Shards → workers: one after the other, or several processes."""
