"""Build a training mix of human and synthetic text that keeps a floor of human text.

Human input is never left out or rewritten; of the synthetic input so much is taken as the floor
allows (accumulate, never replace: Gerstgrasser et al. 2024). Inputs are read twice or three times:
`measure` counts every document, `selection` chooses by a seeded hash of where a record stands, or
by what it adds (`ngrams`), or gives weights (`weights`); `counts` says how often each document is
in the mix by these; `mix` runs it all and copies.
"""
