"""A BERT that was published in transformers' form, read by transformers and then run by us."""

from __future__ import annotations

import model.network.torchvision_guard  # noqa: F401  (before transformers, which may import torchvision)
from model.errors import WeightsError
from model.network.bert import Bert, BertSizes

from tokenizers import Tokenizer  # isort: skip
from transformers import AutoTokenizer, BertModel  # isort: skip
from transformers.utils import logging as transformers_logging  # isort: skip

# Its load report lists the unused pooler as a problem on every start.
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()


def read_bert(name: str) -> tuple[Bert, Tokenizer]:
    """Read an encoder and its tokenizer.

    Args:
        name: a folder in transformers' form, or the name of a model on a hub.
    Raises:
        WeightsError: there is none, or it is no BERT with GELU.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        source = BertModel.from_pretrained(name, add_pooling_layer=False)
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"the text encoder {name!r} cannot be loaded ({error}); name a folder with its "
            "config.json, tokenizer and weights, or connect to a hub once"
        ) from error
    about = source.config
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if about.model_type != "bert" or about.hidden_act != "gelu" or backend is None:
        raise WeightsError(
            f"the text encoder {name!r} is a {about.model_type} with {about.hidden_act}; name a "
            "BERT with gelu, such as bert-base-uncased"
        )
    bert = Bert(
        BertSizes(
            vocabulary=about.vocab_size,
            channels=about.hidden_size,
            layers=about.num_hidden_layers,
            heads=about.num_attention_heads,
            hidden=about.intermediate_size,
            positions=about.max_position_embeddings,
            kinds=about.type_vocab_size,
            epsilon=about.layer_norm_eps,
        )
    )
    bert.load_state_dict(source.float().state_dict())
    return bert, backend
