"""Every column that the pipeline adds to a document: name, Arrow type, unit, meaning.

Importing this module loads nothing heavy: the Arrow types are made when they are asked for.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["string", "int64", "float32", "strings", "counts"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: what it holds, in which unit, and when it is null."""

    name: str
    kind: Kind
    unit: str
    meaning: str
    null: str = "never"

    @property
    def arrow_type(self) -> pa.DataType:
        """The column's Arrow type."""
        import pyarrow as pa

        types: dict[Kind, pa.DataType] = {
            "string": pa.string(),
            "int64": pa.int64(),
            "float32": pa.float32(),
            "strings": pa.list_(pa.string()),
            "counts": pa.list_(pa.int32(), 4),
        }
        return types[self.kind]

    @property
    def field(self) -> pa.Field[pa.DataType]:
        """The column as an Arrow field."""
        import pyarrow as pa

        return pa.field(self.name, self.arrow_type)


ID = Column("id", "string", "", "the record's own identifier", "the record has none")
SHARD = Column("shard", "string", "", "path of the shard below its input root")
RECORD = Column("record", "int64", "records", "0-based position of the record in its shard")
LANGUAGE = Column("language", "string", "", "language that the scorers used", "not recognised")
WORDS = Column("words", "int64", "words", "words; in Chinese and Japanese, characters")

PERPLEXITY = Column(
    "perplexity",
    "float32",
    "per word",
    "word perplexity under the embedded n-gram model of human text (per character in zh, ja)",
    "no model of the language, or no words",
)
BITS_PER_BYTE = Column(
    "bits_per_byte",
    "float32",
    "bits/byte",
    "the same model's information over the UTF-8 bytes of the scored words",
    "as perplexity",
)
SENTENCE_PERPLEXITY_SPREAD = Column(
    "sentence_perplexity_spread",
    "float32",
    "nats",
    "standard deviation across sentences of their mean log-perplexity",
    "fewer than two sentences, or as perplexity",
)
BURSTINESS = Column(
    "burstiness",
    "float32",
    "−1 … 1",
    "Goh–Barabási B = (σ − μ) / (σ + μ) of sentence lengths in words",
    "fewer than two sentences",
)
PHRASE_LOG_ODDS = Column(
    "phrase_log_odds",
    "float32",
    "nats/word",
    "mean learned log-odds, AI against human, of the document's n-grams",
    "no table of the language, or no words",
)
PHRASE_HITS_PER_1K_WORDS = Column(
    "phrase_hits_per_1k_words",
    "float32",
    "hits/1,000 words",
    "matches of the named phrase patterns of the document's language",
    "no list of the language, or no words",
)
PHRASES = Column("phrases", "strings", "", "the distinct phrase patterns found, as category:phrase")
ARTIFACTS = Column(
    "artifacts", "strings", "", "chat-tool residue found: the patterns that are near-certain"
)
AI_SCORE = Column(
    "ai_score", "float32", "0 … 1", "calibrated score; higher is more AI-like", "unscored"
)
VERDICT = Column("verdict", "string", "", "human, ai or unscored")
REASONS = Column("reasons", "strings", "", "why the verdict: features and phrases that decided")

# What scorers leave for the decision and for counting; not part of a row.
PHRASE_HITS = Column(
    "phrase_hits", "int64", "hits", "matches of the named phrase patterns, common ones included"
)
PHRASE_ODDS_NB = Column(
    "phrase_odds_nb",
    "float32",
    "nats/word",
    "mean Naive-Bayes log-odds, AI against human, of the document's n-grams",
    "as phrase_log_odds",
)
PHRASE_ODDS_LR = Column(
    "phrase_odds_lr",
    "float32",
    "nats/word",
    "mean weight of the document's n-grams in a logistic regression of AI against human",
    "as phrase_log_odds",
)
PHRASE_NGRAMS_KNOWN = Column(
    "phrase_ngrams_known",
    "counts",
    "n-grams",
    "distinct n-grams a window of 1 … 4 words that the table of log-odds holds",
)

# Columns of the optional scorers. A causal LM's figures are means over tokens 2 … n, each given
# those before it.
_NO_TOKENS = "not read by the LM, fewer than two tokens, or numbers that ran over (float16)"
LM_PERPLEXITY = Column(
    "lm_perplexity",
    "float32",
    "per token",
    "perplexity under the causal LM: exp of the mean surprisal",
    _NO_TOKENS,
)
LM_LOG_RANK = Column(
    "lm_log_rank",
    "float32",
    "nats",
    "mean ln rank of the tokens among all by likelihood; the likeliest has rank 1",
    _NO_TOKENS,
)
LM_ENTROPY = Column(
    "lm_entropy", "float32", "nats", "mean entropy of the causal LM's predictions", _NO_TOKENS
)
LM_LRR = Column(
    "lm_lrr",
    "float32",
    "",
    "mean surprisal over mean ln rank (log-likelihood log-rank ratio)",
    f"{_NO_TOKENS}, or every token is the likeliest",
)
LM_CURVATURE = Column(
    "lm_curvature",
    "float32",
    "standard deviations",
    "Fast-DetectGPT's analytic conditional probability curvature, the LM as its own reference",
    f"{_NO_TOKENS}, or no variance",
)
LM_SURPRISAL_SPREAD = Column(
    "lm_surprisal_spread",
    "float32",
    "nats",
    "standard deviation across sentences of their mean surprisal",
    "not read by the LM, or fewer than two sentences",
)
BINOCULARS = Column(
    "binoculars",
    "float32",
    "",
    "log-perplexity under the observer over its cross-perplexity with the performer; low is AI",
    f"{_NO_TOKENS}, or no performer",
)
KENLM_PERPLEXITY = Column(
    "kenlm_perplexity",
    "float32",
    "per token",
    "perplexity under the user's KenLM model, as CCNet computes it; a sentence end a line",
    "no text left to score",
)
WATERMARK_Z = Column(
    "watermark_z",
    "float32",
    "standard deviations",
    "how far the watermark's keyed statistic lies above that of text without it",
    "fewer tokens than the watermark needs",
)
WATERMARK_P = Column(
    "watermark_p",
    "float32",
    "0 … 1",
    "probability of such a statistic, or a higher one, without the watermark",
    "as watermark_z",
)

# What the LM leaves for counting; not part of a row.
LM_TOKENS = Column("lm_tokens", "int64", "tokens", "tokens that the LM judged", "not read by it")

OPTIONAL_COLUMNS: tuple[Column, ...] = (
    LM_PERPLEXITY,
    LM_LOG_RANK,
    LM_ENTROPY,
    LM_LRR,
    LM_CURVATURE,
    LM_SURPRISAL_SPREAD,
    BINOCULARS,
    KENLM_PERPLEXITY,
    WATERMARK_Z,
    WATERMARK_P,
)
"""What a row has after `SCORE_COLUMNS` where the scorer ran, in this order."""

SCORE_COLUMNS: tuple[Column, ...] = (
    ID,
    SHARD,
    RECORD,
    LANGUAGE,
    WORDS,
    PERPLEXITY,
    BITS_PER_BYTE,
    BURSTINESS,
    SENTENCE_PERPLEXITY_SPREAD,
    PHRASE_LOG_ODDS,
    PHRASE_HITS_PER_1K_WORDS,
    PHRASES,
    ARTIFACTS,
    AI_SCORE,
    VERDICT,
    REASONS,
)
"""One row of `lowbg score`, in this order."""


def score_schema(present: Collection[str] = ()) -> pa.Schema:
    """The Arrow schema of `SCORE_COLUMNS` and of those `OPTIONAL_COLUMNS` that are `present`."""
    import pyarrow as pa

    optional = [column for column in OPTIONAL_COLUMNS if column.name in present]
    return pa.schema([column.field for column in (*SCORE_COLUMNS, *optional)])
