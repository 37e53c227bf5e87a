"""One small random encoder of each family, over the tests' own vocabulary."""

import torch
from transformers import (
    AlbertConfig,
    AutoModel,
    BartConfig,
    BertConfig,
    DebertaConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    FlaubertConfig,
    GPT2Config,
    LlamaConfig,
    M2M100Config,
    MBartConfig,
    ModernBertConfig,
    MPNetConfig,
    MT5Config,
    Qwen3Config,
    RobertaConfig,
    T5Config,
    XLMConfig,
    XLMRobertaConfig,
)

from tests.conftest import make_tokenizer

SIZE = {"vocab_size": 60, "pad_token_id": 0}
SMALL = {**SIZE, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24,
         "initializer_range": 0.2}  # fmt: skip
SPECIAL = {"bos_token_id": 2, "eos_token_id": 3}
OF_XLM = {**SIZE, "emb_dim": 16, "n_layers": 3, "n_heads": 2, "pad_index": 0, "max_position_embeddings": 64}
OF_T5 = {**SIZE, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 3, "num_heads": 2}
OF_BART = {**SIZE, "d_model": 16, "encoder_layers": 3, "decoder_layers": 1, "encoder_attention_heads": 2,
           "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "init_std": 0.2,
           "max_position_embeddings": 64, "decoder_start_token_id": 3, **SPECIAL}  # fmt: skip
FAMILIES = {
    "bert": BertConfig(**SMALL),
    "xlm-roberta": XLMRobertaConfig(**SMALL, max_position_embeddings=66),
    "distilbert": DistilBertConfig(**SIZE, dim=16, n_layers=3, n_heads=2, hidden_dim=24),
    "deberta-v2": DebertaV2Config(
        **SMALL, relative_attention=True, position_buckets=8, max_relative_positions=40,
        share_att_key=True, pos_att_type=["p2c", "c2p"], norm_rel_ebd="layer_norm",
        position_biased_input=False, type_vocab_size=0,
    ),
    "modernbert": ModernBertConfig(
        **SMALL, cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2, max_position_embeddings=64,
        global_attn_every_n_layers=2, local_attention=8,
    ),
    "electra": ElectraConfig(**SMALL, embedding_size=8),
    "mpnet": MPNetConfig(**SMALL, max_position_embeddings=66),
}  # fmt: skip
"""Those whose every part is tested with each, as they are what people fine-tune most."""

CAUSAL = {
    "gpt2": GPT2Config(vocab_size=60, n_embd=16, n_layer=3, n_head=2, n_positions=64, **SPECIAL),
    "qwen3": Qwen3Config(
        **SMALL, head_dim=8, num_key_value_heads=1, max_position_embeddings=64, **SPECIAL,
        layer_types=["full_attention"] * 3,
    ),
    "llama": LlamaConfig(**SMALL, max_position_embeddings=64, **SPECIAL),
}  # fmt: skip
EVERY_FAMILY = {
    **FAMILIES,
    **CAUSAL,
    "roberta": RobertaConfig(**SMALL, max_position_embeddings=66),
    "deberta": DebertaConfig(**SMALL, relative_attention=True, pos_att_type=["p2c", "c2p"]),
    "deberta-v2-conv": DebertaV2Config(
        **FAMILIES["deberta-v2"].to_diff_dict() | {"conv_kernel_size": 3, "conv_act": "gelu"}
    ),
    "albert": AlbertConfig(**SMALL, embedding_size=8),
    "albert-groups": AlbertConfig(**SMALL | {"num_hidden_layers": 4}, embedding_size=8, num_hidden_groups=2),
    "xlm": XLMConfig(**OF_XLM),
    "flaubert": FlaubertConfig(**OF_XLM),
    "t5": T5Config(**OF_T5),
    "mt5": MT5Config(**OF_T5),
    "bart": BartConfig(**OF_BART),
    "mbart": MBartConfig(**OF_BART),
    "m2m_100": M2M100Config(**OF_BART),
}
WITH_TYPES = ("bert", "electra", "albert", "albert-groups", "deberta")


def save_family(name, folder):
    """Save an encoder of a family with a tokenizer that gives token types only where the family has them.

    Norms and biases are random, too: in a new model, all 1 and 0, they could be left out unseen.
    """
    torch.manual_seed(1)
    model = AutoModel.from_config(EVERY_FAMILY[name])
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.uniform_(0.5, 1.5)
    model.save_pretrained(folder)
    tokenizer = make_tokenizer()
    if name not in WITH_TYPES:
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
    if name in CAUSAL:
        tokenizer.padding_side = "left"
    if name == "gpt2":
        tokenizer.pad_token, tokenizer.eos_token = None, "[SEP]"
    tokenizer.save_pretrained(folder)
    return folder
