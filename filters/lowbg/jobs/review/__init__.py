"""`lowbg review`: people label documents of a run, and its figures are worked out from that."""
