"""Tiny configurations of every causal language model in transformers, with realistic proportions.

Widths that published models keep apart are kept apart here (keys beside values, rotated beside plain parts, heads
beside groups of heads, a head beside its share of the state), and every window, chunk, cap and scale is small
enough to matter to a text of a dozen tokens.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

VOCABULARY = 64
# Thirty that many people train, of every kind of layer.
POPULAR = (
    *("llama", "mistral", "mixtral", "ministral3", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen3_next"),
    *(
        "qwen3_5_text",
        "gemma",
        "gemma2",
        "gemma3_text",
        "gemma4_text",
        "phi",
        "phi3",
        "gpt2",
        "gpt_neox",
        "gpt_oss",
    ),
    *("deepseek_v2", "deepseek_v3", "glm4", "glm4_moe", "cohere2", "olmo2", "olmo3", "smollm3", "granite"),
    *("falcon_h1", "lfm2"),
)
KINDS = sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
# What a configuration gets where it has a field of that name.
SMALL: dict[str, Any] = {
    **dict.fromkeys(("vocab_size", "decoder_vocab_size", "unpadded_vocab_size"), VOCABULARY),
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "emb_dim", "embedding_size", "embedding_dim"), 32),
    **dict.fromkeys(
        ("input_embedding_size", "output_embedding_size", "lru_width", "cross_attention_hidden_size"), 32
    ),
    **dict.fromkeys(
        ("intermediate_size", "ffn_dim", "dff", "dim_ff", "n_inner", "d_inner", "ffn_hidden_size"), 48
    ),
    **dict.fromkeys(("decoder_ffn_dim", "encoder_ffn_dim", "feed_forward_size", "intermediate_size_mlp"), 48),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "expert_ffn_hidden_size"), 24),
    **dict.fromkeys(
        ("shared_intermediate_size", "shared_experts_intermediate_size", "dense_intermediate_size"), 40
    ),
    **dict.fromkeys(("moe_shared_expert_intermediate_size", "prefix_dense_intermediate_size"), 40),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), 4),
    **dict.fromkeys(("decoder_layers", "encoder_layers", "num_decoder_layers", "num_encoder_layers"), 2),
    **dict.fromkeys(
        ("num_attention_heads", "n_head", "n_heads", "attention_heads", "swa_num_attention_heads"), 4
    ),
    **dict.fromkeys(("decoder_attention_heads", "encoder_attention_heads", "num_decoder_attention_heads"), 4),
    **dict.fromkeys(("num_encoder_attention_heads", "num_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "swa_num_key_value_heads", "num_kv_heads"), 2),
    **dict.fromkeys(("head_dim", "swa_head_dim", "kv_channels", "dim_head", "attention_head_size"), 12),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "context_length", "max_seq_len"), 256),
    **dict.fromkeys(("sliding_window", "sliding_window_size", "attention_window_size", "window_size"), 6),
    **dict.fromkeys(("attention_chunk_size", "local_attention"), 8),
    **dict.fromkeys(("initializer_range", "init_std"), 0.2),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k", "top_k_experts"), 2),
    **dict.fromkeys(("n_shared_experts", "num_shared_experts", "moe_num_shared_experts"), 1),
    **dict.fromkeys(("n_group", "topk_group", "first_k_dense_replace", "num_dense_layers"), 1),
    **{"kv_lora_rank": 16, "q_lora_rank": 20, "o_lora_rank": 8, "o_groups": 2},
    **{"qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 12, "rotary_dim": 4},
    **{"index_topk": 5, "index_head_dim": 8, "index_n_heads": 16, "index_block_size": 4, "index_topk_blocks": 2},
    **{"final_logit_softcapping": 5.0, "attn_logit_softcapping": 3.0, "logits_soft_cap": 5.0},
    **{"logit_scale": 0.3, "query_pre_attn_scalar": 8, "logits_scaling": 2.0, "lm_head_multiplier": 0.5},
    **{"embedding_multiplier": 2.0, "attention_multiplier": 0.3, "residual_multiplier": 0.5},
    **{"state_size": 8, "ssm_state_size": 8, "mamba_d_state": 8, "mamba_d_conv": 4, "conv_kernel": 4},
    **{"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_num_heads": 8, "mamba_head_dim": 8, "mamba_d_ssm": 64},
    **{"mamba_n_groups": 2, "mamba_chunk_size": 8, "chunk_size": 8, "time_step_rank": 4, "mamba_dt_rank": 4},
    **{"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8},
    **{"linear_value_head_dim": 12, "linear_head_dim": 8, "linear_num_heads": 4},
    **{"block_multiple_of": 8, "max_window_layers": 2, "keep_window_size": 8},
    **{"laurel_rank": 4, "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": VOCABULARY},
    **{"bos_token_id": 1, "eos_token_id": 0, "pad_token_id": 0, "eod_token_id": 0, "is_decoder": True},
}
WINDOWED = ["sliding_attention", "full_attention"] * 2
# What some architectures need besides; a value of None leaves the configuration's own default.
HYBRID = ["linear_attention", "full_attention"] * 2
OWN: dict[str, dict[str, Any]] = {
    "bailing_hybrid": {"layer_group_size": 2},
    "bamba": {"attn_layer_indices": [1, 3]},
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8.0},
        "ffn_config": {"moe_num_experts": 4, "moe_top_k": 2},
    },
    "gemma3": {"text_config": {"layer_types": WINDOWED, "final_logit_softcapping": None}},
    "gemma3_text": {"layer_types": WINDOWED},
    "gemma3n_text": {"layer_types": WINDOWED, "num_kv_shared_layers": 2},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "granitemoehybrid": {"layer_types": HYBRID},
    "helium": {"head_dim": 8},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "kimi_linear": {"layer_types": HYBRID},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "lfm3": {"layer_types": ["conv", "sliding_attention", "full_attention", "conv"]},
    "mamba2": {"num_heads": 4, "head_dim": 16, "n_groups": 2},
    "reformer": {
        **{"attn_layers": ["local", "lsh"], "axial_pos_shape": (16, 16), "axial_pos_embds_dim": (16, 16)},
        **{"local_attn_chunk_length": 4, "lsh_attn_chunk_length": 4, "num_buckets": 2, "hash_seed": 0},
    },
    "mpt": {"logit_scale": None},
    "qwen4_exp_text": {
        **{"indexer_n_heads": 16, "indexer_kv_heads": 1, "indexer_head_dim": 12},
        **{"indexer_budget": 8, "indexer_compress_ratio": 2},
    },
    "youtu": {"pad_token_id": None},
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "num_hidden_layers": 6,
        "layers_block_type": ["linear_attention", "linear_attention", "hybrid"] * 2,
    },
    "zamba2": {"layers_block_type": ["linear_attention", "hybrid"] * 2},
    "zaya": {"num_experts_per_tok": 1},
}


def tiny_config(kind: str) -> Any:
    """A tiny configuration of the model type `kind`."""
    return _small(CONFIG_MAPPING[kind], OWN.get(kind, {}))


def _small(of: Any, own: dict[str, Any]) -> Any:
    """An object of a configuration class; its parts get tiny configurations too."""
    known = {field.name for field in fields(of)} if hasattr(of, "__dataclass_fields__") else set()
    chosen = {name: value for name, value in SMALL.items() if name in known}
    if "kv_lora_rank" in known:  # latent attention: a key for each head, and only a part of it is rotated
        chosen |= {"num_key_value_heads": 4} | ({"head_dim": 4} if "head_dim" in known else {})
    parts = getattr(of, "sub_configs", {})
    whole = of() if parts else None
    for name in parts:
        part = type(getattr(whole, name, None))
        if issubclass(part, PreTrainedConfig):
            chosen[name] = _small(part, own.get(name, {}))
    chosen |= {name: value for name, value in own.items() if name not in parts}
    return of(**{name: value for name, value in chosen.items() if value is not None})


def tiny_network(kind: str) -> Any:
    """A causal language model of random weights, none of which is exactly 0 or 1."""
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(tiny_config(kind), dtype=torch.float32).eval()
    network.tie_weights()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network
