"""BERT: the encoder, once, under a span head (questions answered from a text) and a sentence-pair classifier.

Dropout stands where Hugging Face has it (after the embeddings' normalisation, the attention output, the block output,
before the classifier) but for the attention probabilities, which they also drop and the ``attention`` op does not.
"""

from dataclasses import dataclass
from functools import partial

from dlcompare.core.graph import Input
from dlcompare.core.graph.model import Model
from dlcompare.core.graph.ops import Tensor

INIT = "normal_0.02"  # of every weight matrix, as published
PAPER = "Devlin et al. 2018, BERT: Pre-training of deep bidirectional transformers, arXiv:1810.04805"


@dataclass(frozen=True)
class Config:
    """Sizes of one encoder; the defaults are BERT-base, uncased."""

    vocabulary: int = 30522
    features: int = 768
    layers: int = 12
    heads: int = 12
    hidden: int = 3072  # of the feed-forward half
    positions: int = 512
    segments: int = 2
    eps: float = 1e-12
    dropout: float = 0.1


BASE = Config()
TINY = Config(vocabulary=128, features=64, layers=2, heads=2, hidden=256, positions=64)


def encoder(input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor, config: Config) -> Tensor:
    """Return (S, features) from ids, segments and mask, each (S,)."""
    scope = "bert.embeddings"
    x = input_ids.embedding(config.vocabulary, config.features, name=f"{scope}.word_embeddings")
    segment = token_type_ids.embedding(config.segments, config.features, name=f"{scope}.token_type_embeddings")
    x = x.add(segment, name=f"{scope}.add").position_embedding(config.positions, name=f"{scope}.position_embeddings")
    x = x.layer_norm(eps=config.eps, name=f"{scope}.LayerNorm").dropout(config.dropout, name=f"{scope}.dropout")
    for index in range(config.layers):
        x = block(x, attention_mask, config, f"bert.encoder.layer.{index}")
    return x


def block(x: Tensor, mask: Tensor, config: Config, scope: str) -> Tensor:
    """Self-attention, then a feed-forward half; each is added to its input and normalised after."""
    query, key, value = (x.dense(config.features, init=INIT, name=f"{scope}.attention.self.{part}")
                         for part in ("query", "key", "value"))
    y = query.attention(key, value, mask, heads=config.heads, name=f"{scope}.attention.self")
    x = project(y, x, config, f"{scope}.attention.output")
    y = x.dense(config.hidden, init=INIT, name=f"{scope}.intermediate.dense").gelu(name=f"{scope}.intermediate.gelu")
    return project(y, x, config, f"{scope}.output")


def project(y: Tensor, x: Tensor, config: Config, scope: str) -> Tensor:
    """Bring ``y`` back to the encoder's width, drop, add ``x``, normalise."""
    y = y.dense(config.features, init=INIT, name=f"{scope}.dense").dropout(config.dropout, name=f"{scope}.dropout")
    return y.add(x, name=f"{scope}.add").layer_norm(eps=config.eps, name=f"{scope}.LayerNorm")


def pooler(x: Tensor, config: Config) -> Tensor:
    """Return tanh of a dense layer over the first token, (features,)."""
    first = x.select(0, axis=0, name="bert.pooler.first")
    return first.dense(config.features, init=INIT, name="bert.pooler.dense").tanh(name="bert.pooler.tanh")


def span(input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor, start_positions: Tensor,
         end_positions: Tensor, *, config: Config) -> dict[str, Tensor]:
    """Return start and end logits (S,), the pooled first token, and the mean of the two cross-entropies.

    The loss does not reach the pooler; it is here because the published checkpoints and parameter counts hold it.
    """
    x = encoder(input_ids, token_type_ids, attention_mask, config)
    both = x.dense(2, init=INIT, name="qa_outputs")
    start, end = both.select(0, axis=-1, name="start"), both.select(1, axis=-1, name="end")
    start_loss = start.cross_entropy(start_positions, name="start_loss")
    total = start_loss.add(end.cross_entropy(end_positions, name="end_loss"), name="loss_sum")
    return {"start": start, "end": end, "pooled": pooler(x, config), "loss": total.scale(0.5, name="loss")}


def pair(input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor, label: Tensor, *,
         config: Config, classes: int = 2) -> dict[str, Tensor]:
    """Return a logit for each class of a pair of sentences, from the pooled first token, and their loss."""
    x = pooler(encoder(input_ids, token_type_ids, attention_mask, config), config)
    logits = x.dropout(config.dropout, name="dropout").dense(classes, init=INIT, name="classifier")
    return {"logits": logits, "loss": logits.cross_entropy(label, name="loss")}


def tokens(config: Config, length: int) -> dict[str, Input]:
    return {"input_ids": Input((length,), "int64", "ids", high=config.vocabulary),
            "token_type_ids": Input((length,), "int64", "segment", high=config.segments),
            "attention_mask": Input((length,), "int64", "mask", high=2)}


def span_inputs(config: Config, length: int) -> dict[str, Input]:
    position = Input((), "int64", "position", high=length)
    return {**tokens(config, length), "start_positions": position, "end_positions": position}


PAIR_INPUTS = {**tokens(BASE, 128), "label": Input((), "int64", "label", high=2)}

MODELS = [
    Model("bert-base", partial(pair, config=BASE), PAIR_INPUTS, task="classification", reference=PAPER,
          checkpoint="Hugging Face BertForSequenceClassification"),
    Model("bert-squad", partial(span, config=BASE), span_inputs(BASE, 384), task="span", reference=PAPER,
          checkpoint="Hugging Face BertForQuestionAnswering, with the pooler"),
    Model("bert-tiny", partial(span, config=TINY), span_inputs(TINY, 16), task="span", reference=PAPER,
          checkpoint="Hugging Face BertForQuestionAnswering, with the pooler"),
]
