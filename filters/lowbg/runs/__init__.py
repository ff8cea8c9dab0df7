"""One loop over shards, one output directory, any executor."""
