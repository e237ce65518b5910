"""Settings of the architectures that load without a trial: every one in which it is known by `VERIFIED`."""

from __future__ import annotations

from typing import Any

HEADS = {"head_dim": 8}
WINDOW = {"sliding_window": 4}
GEMMA = {**HEADS, **WINDOW, "query_pre_attn_scalar": 8}
PACKED: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": HEADS,
    "gemma": HEADS,
    "mistral": {"sliding_window": None},
    "phi": {},
    "phi3": {},
    "gpt2": {},
    "gpt_neox": {},
    "gptj": {"rotary_dim": 4, "n_embd": 32, "n_head": 4, "n_layer": 2},  # its attention adds the mask
    "olmo2": {},
    "stablelm": {},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "mixtral": {"num_local_experts": 4},
    "cohere": {"logit_scale": 0.3},
    "granite": {"logits_scaling": 8.0, "attention_multiplier": 0.3, "residual_multiplier": 0.5},
}
PLAIN: dict[str, dict[str, Any]] = {
    "gemma2": {**GEMMA, "final_logit_softcapping": 2.0, "attn_logit_softcapping": 3.0},
    "gemma3_text": GEMMA,
    "mistral": WINDOW,
    "cohere2": {**HEADS, **WINDOW, "logit_scale": 0.3},
    "olmo3": WINDOW,
    "gpt_oss": {**HEADS, **WINDOW, "num_local_experts": 4},
    "bloom": {},
    "falcon": {},
    "mamba": {"state_size": 4},
}
# Trained on like those above, but no cache of transformers gives its numbers: its states are in its layers.
TRIED: dict[str, dict[str, Any]] = {"recurrent_gemma": {"logits_soft_cap": 2.0}}
