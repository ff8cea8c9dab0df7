"""A Spark frame, annotated and without what is AI-likely.

    spark-submit spark_map_in_arrow.py sample/crawl-1.parquet human/

Needs `pip install pyspark` and Java.
"""

import sys

from pyspark.sql import SparkSession

from lowbg.adapters.spark import annotated


def main(shard: str, output: str) -> None:
    """Filters a Parquet shard."""
    spark = SparkSession.builder.appName("lowbg").getOrCreate()
    documents = annotated(spark.read.parquet(shard))
    documents.where("lowbg.verdict != 'ai'").write.parquet(output)
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
