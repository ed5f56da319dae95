"""`gru`: words in order, read forwards and backwards by a gated recurrent network (Cho et al. 2014), trained from nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from services.common.bundle.terms import words
from services.common.bundle.tokens import PADDING, Vocabulary

MOST_WORDS = 20_000
LONGEST = 128


def fit_vocabulary(texts: Sequence[str | None], longest: int = 0) -> Vocabulary:
    """The words of at least two texts, most frequent first."""
    counts = Counter(word for text in texts for word in set(words(text or "")))
    least = 2 if len(texts) >= 50 else 1
    kept = [word for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if count >= least]
    return Vocabulary(known=tuple(kept[:MOST_WORDS]), longest=longest or LONGEST)


class WordsEncoder(nn.Module):
    """The mean of a forward and a backward network's states over a text's words.

    The backward one reads the reversed words, not the reversed padding: a row's answer doesn't hang on the other rows of
    its batch.
    """

    inputs: tuple[str, ...] = ("text",)
    learning_rate = 3e-3

    def __init__(self, vocabulary: int, dropout: float, width: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=PADDING)
        self.forwards = nn.GRU(width, width, batch_first=True)
        self.backwards = nn.GRU(width, width, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.width = 2 * width

    def forward(self, tokens: Tensor) -> Tensor:
        """`(rows, words)` -> `(rows, width)`."""
        inside = (tokens != PADDING).to(torch.float32)  # (rows, words)
        length = inside.sum(dim=1, keepdim=True)  # (rows, 1)
        place = torch.arange(tokens.shape[1], device=tokens.device).unsqueeze(0)
        mirrored = (length.to(torch.int64) - 1 - place).clamp(min=0)  # (rows, words)
        ahead, _ = self.forwards(self.dropout(self.embedding(tokens)))  # (rows, words, width / 2)
        behind, _ = self.backwards(self.dropout(self.embedding(torch.gather(tokens, 1, mirrored))))
        states = torch.cat([ahead, behind], dim=2) * inside.unsqueeze(-1)
        answer: Tensor = self.dropout(states.sum(dim=1) / length.clamp(min=1.0))
        return answer
