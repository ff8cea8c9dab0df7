"""Does a corpus, or a model, start to collapse: profiles, what changed since one, and alerts."""
