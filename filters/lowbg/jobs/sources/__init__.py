"""How much of a crawl's sources is AI: a table with a row a source, which merges."""
