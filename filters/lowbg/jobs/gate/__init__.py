"""May a data set be released: evidence → findings by rule → a verdict, and its renderings.

`scan.py` (all documents) and `sampling.py` (a random sample) score a data set without writing
records, `reports.py` takes what a finished run counted; each gives `Evidence`. `rules.py` judges
it. The `render_*.py` files show what came out. To add a rule, add a function to `rules.RULES`.
"""
