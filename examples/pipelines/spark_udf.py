"""A query over a Spark view, with what lowbg says of each row as one of its columns.

    spark-submit spark_udf.py sample/crawl-1.parquet human/

Needs `pip install pyspark` and Java.
"""

import sys

from pyspark.sql import SparkSession

from lowbg.adapters.spark import annotation


def main(shard: str, output: str) -> None:
    """Filters a Parquet shard."""
    spark = SparkSession.builder.appName("lowbg").getOrCreate()
    documents = spark.read.parquet(shard)
    documents = documents.withColumn("lowbg", annotation("text", "language", "date", "url"))
    documents.where("lowbg.verdict != 'ai'").write.parquet(output)
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
