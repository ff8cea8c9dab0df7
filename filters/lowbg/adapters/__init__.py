"""lowbg in the pipelines that people already run: thin steps over one `Detector`.

`Annotate` is a function from tables to tables, which Hugging Face `datasets`, Ray Data and Spark
map over their own; beside it there is a file an engine for what needs more than a function. Each is
imported by whoever uses that engine, and nothing here imports one that isn't used.
"""

from lowbg.adapters.annotate import Annotate

__all__ = ["Annotate"]
