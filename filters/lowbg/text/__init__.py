"""One pass over a batch's UTF-8 bytes: characters, words, languages, n-grams, origins."""
