"""Where bytes live: whole-object publishing, locks, and compressed streams."""
