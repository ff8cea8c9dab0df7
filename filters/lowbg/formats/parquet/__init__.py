"""Parquet: read row group by row group, rows written alike."""
