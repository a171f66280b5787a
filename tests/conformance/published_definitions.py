"""Write what torchvision and Hugging Face say: runs in an environment that holds both, and knows nothing of dlcompare.

    python published_definitions.py FOLDER

Writes ``shapes.json`` (every model's state_dict, key -> shape), ``saved.json`` (bytes per sample that autograd saves
for the backward pass) and, for each numeric case, NAME.pth (a state_dict of random values, statistics included) with
NAME.npz (inputs, and outputs in evaluation mode, loss included).
"""

import json
import math
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy


def define_operators():
    """Let torchvision be imported where its compiled operators do not fit this torch; no model here uses them."""
    try:
        torch.ops.load_library(Path(find_spec("torchvision").origin).with_name("_C.so"))
    except OSError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return library  # the operators live as long as this object
    return None


LIBRARY = define_operators()

import torchvision.models  # noqa: E402
from transformers import BertConfig, BertForQuestionAnswering, BertForSequenceClassification  # noqa: E402
from transformers.models.bert.modeling_bert import BertPooler  # noqa: E402

IMAGE_MODELS = ("alexnet", "vgg16", "vgg19", "googlenet", "inception_v3", "resnet18", "resnet34", "resnet50",
                "resnet101", "resnet152")
IMAGE_CASES = {"alexnet": 64, "vgg16": 64, "googlenet": 96, "inception_v3": 299, "resnet18": 64, "resnet50": 96}
WITH_AUXILIARY = {"googlenet": 0.3, "inception_v3": 0.4}  # weight of each auxiliary loss
TINY = BertConfig(vocab_size=128, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=256,
                  max_position_embeddings=64)
BATCH, LENGTH = 3, 16


def image_model(name):
    drawn = {"aux_logits": True, "init_weights": False} if name in WITH_AUXILIARY else {}
    return getattr(torchvision.models, name)(weights=None, **drawn)


def image_loss(name, model, image, label):
    """Return logits and loss: torchvision leaves the auxiliary losses and their weights to the training loop."""
    model.training = model.training or name in WITH_AUXILIARY  # of the outermost module: asks for auxiliary logits
    logits, *auxiliary = model(image) if name in WITH_AUXILIARY else (model(image),)
    losses = [cross_entropy(each, label) for each in auxiliary]
    return logits, cross_entropy(logits, label) + WITH_AUXILIARY.get(name, 0) * sum(losses)


def span_model(config):
    """BertForQuestionAnswering as first published, when it still held the pooler its loss does not reach."""
    model = BertForQuestionAnswering(config)
    model.bert.pooler = BertPooler(config)
    return model


def shapes():
    with torch.device("meta"):
        models = {name: image_model(name) for name in IMAGE_MODELS}
        models["bert-base"] = BertForSequenceClassification(BertConfig(num_labels=2))
        models["bert-squad"] = span_model(BertConfig())
        models["bert-tiny"] = span_model(TINY)
    return {name: {k: list(v.shape) for k, v in model.state_dict().items()} for name, model in models.items()}


@torch.no_grad()
def randomise(model):
    """Values that keep every layer's signal alive and differ wherever a mix-up would otherwise hide."""
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2.0)
        elif value.ndim > 1:
            value.normal_(0, math.sqrt(2 / math.prod(value.shape[1:])))
        elif value.is_floating_point():
            value.normal_(1.0 if name.endswith("weight") else 0.0, 0.2)  # a vector called weight is a norm's scale
    return model.eval()


def image_case(name, size):
    model = randomise(image_model(name))
    inputs = {"image": torch.randn(BATCH, 3, size, size), "label": torch.randint(1000, (BATCH,))}
    logits, loss = image_loss(name, model, **inputs)
    return model, inputs, {"logits": logits, "loss": loss}


def tokens():
    mask = torch.arange(LENGTH) < torch.tensor([LENGTH, 11, 5])[:, None]
    return {"input_ids": torch.randint(128, (BATCH, LENGTH)), "token_type_ids": torch.randint(2, (BATCH, LENGTH)),
            "attention_mask": mask.long()}


def span_case():
    model, text = randomise(span_model(TINY)), tokens()
    positions = {"start_positions": torch.tensor([3, 1, 0]), "end_positions": torch.tensor([15, 4, 2])}
    out = model(**text, **positions)
    pooled = model.bert(**text).pooler_output
    outputs = {"start": out.start_logits, "end": out.end_logits, "loss": out.loss, "pooled": pooled}
    return model, text | positions, outputs


def pair_case():
    model, text, label = randomise(BertForSequenceClassification(TINY)), tokens(), torch.tensor([0, 1, 1])
    out = model(**text, labels=label)
    return model, {**text, "label": label}, {"logits": out.logits, "loss": out.loss}


def saved_bytes(model, inputs):
    """Return the bytes per sample that autograd keeps: of two samples less of one, so that the weights cancel."""
    totals = []
    for batch in (1, 2):
        storages = {}

        def pack(tensor, storages=storages):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out = model(**{k: v[:batch].clone() for k, v in inputs.items()})
        totals.append(sum(storage.nbytes() for storage in storages.values()))
        del out
    return totals[1] - totals[0]


def saved():
    class Image(torch.nn.Module):
        def __init__(self, name):
            super().__init__()
            self.name, self.model = name, image_model(name)

        def forward(self, image, label):
            return image_loss(self.name, self.model, image, label)[1]

    inputs = {"image": torch.randn(2, 3, 224, 224), "label": torch.tensor([1, 2])}
    names = ("alexnet", "vgg16", "googlenet", "resnet18", "resnet50")
    found = {name: saved_bytes(Image(name), inputs) for name in names}
    _, inputs, _ = span_case()
    found["bert-tiny"] = saved_bytes(BertForQuestionAnswering(TINY), inputs)
    return found


def main(folder):
    torch.manual_seed(0)
    cases = {name: lambda name=name, size=size: image_case(name, size) for name, size in IMAGE_CASES.items()}
    for name, case in {**cases, "bert-tiny": span_case, "pair-tiny": pair_case}.items():
        model, inputs, outputs = case()
        torch.save(model.state_dict(), folder / f"{name}.pth")
        arrays = {f"in.{k}": v for k, v in inputs.items()} | {f"out.{k}": v.detach() for k, v in outputs.items()}
        np.savez(folder / f"{name}.npz", **{k: v.numpy() for k, v in arrays.items()})
    (folder / "shapes.json").write_text(json.dumps(shapes()))
    (folder / "saved.json").write_text(json.dumps(saved()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
