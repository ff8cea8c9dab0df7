"""Causal language models at full speed: where their files lie, how text is batched, what is read.

`store.py` finds a model's files and digests them; `packing.py` cuts token sequences into windows
and windows into batches; `models.py` loads a model; `reduction.py` turns logits into figures a
token; `inference.py` runs all of that over documents; `figures.py` sums tokens up by document.
Only `models.py`, `reduction.py` and `inference.py` import torch, and only a run that asks for a
language model imports them.
"""
