"""JSON lines: read record by record, kept as the bytes that they were."""
