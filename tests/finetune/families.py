"""One small random encoder of each family, over the tests' own vocabulary."""

import torch
from transformers import (
    AutoModel,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    MPNetConfig,
    XLMRobertaConfig,
)

from tests.conftest import make_tokenizer

SMALL = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2,
         "intermediate_size": 24, "pad_token_id": 0, "initializer_range": 0.2}  # fmt: skip
FAMILIES = {
    "bert": BertConfig(**SMALL),
    "xlm-roberta": XLMRobertaConfig(**SMALL, max_position_embeddings=66),
    "distilbert": DistilBertConfig(vocab_size=60, dim=16, n_layers=3, n_heads=2, hidden_dim=24),
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


def save_family(name, folder):
    """Save an encoder of a family with a tokenizer that gives token types only where the family has them."""
    torch.manual_seed(1)
    AutoModel.from_config(FAMILIES[name]).save_pretrained(folder)
    tokenizer = make_tokenizer()
    if name not in ("bert", "electra"):
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
    tokenizer.save_pretrained(folder)
    return folder
