"""Translation models of a few thousand random weights, with real tokenizers, that every test can afford."""

from __future__ import annotations

import json
import random
import shutil

import sentencepiece
import torch
from transformers import (
    M2M100Config,
    M2M100ForConditionalGeneration,
    MarianConfig,
    MarianMTModel,
    MarianTokenizer,
    NllbTokenizer,
)

from tests.conftest import WORDS

CODES = ("eng_Latn", "deu_Latn", "fra_Latn")
SIZES = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 64,
    "init_std": 1.0,  # outputs that depend on the input, and no near-ties
}


def save_marian(folder, seed=0, targets=()):
    """One pair of languages, or one source and several targets told apart by a token before the text."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = folder / "lines.txt"
    draw = random.Random(0)
    lines.write_text("\n".join(" ".join(draw.choices(WORDS, k=6)) for _ in range(300)))
    sentencepiece.SentencePieceTrainer.train(
        input=str(lines),
        model_prefix=str(folder / "sp"),
        vocab_size=80,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "sp.model"))
    pieces = [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
    names = ["</s>", "<unk>", *targets, *(p for p in pieces if p not in ("<s>", "</s>", "<unk>")), "<pad>"]
    vocabulary = {name: i for i, name in enumerate(names)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    for name in ("source.spm", "target.spm"):
        shutil.copy(folder / "sp.model", folder / name)
    tokenizer = MarianTokenizer(
        source_spm=str(folder / "source.spm"),
        target_spm=str(folder / "target.spm"),
        vocab=str(folder / "vocab.json"),
    )
    for name in ("lines.txt", "sp.model", "sp.vocab"):
        (folder / name).unlink()
    pad = vocabulary["<pad>"]
    config = MarianConfig(
        vocab_size=len(vocabulary), pad_token_id=pad, eos_token_id=0, decoder_start_token_id=pad,
        forced_eos_token_id=0, **SIZES,
    )  # fmt: skip
    save(MarianMTModel, config, tokenizer, folder, seed=seed, never=[pad, 1, vocabulary["\u2581"]])
    return folder


def save_nllb(folder, seed=0):
    """Many languages, told apart by a code around the text and as the first token written."""
    characters = sorted(set("".join(WORDS)))
    vocabulary = {t: i for i, t in enumerate(["<s>", "<pad>", "</s>", "<unk>", "\u2581", *characters])}
    tokenizer = NllbTokenizer(vocab=vocabulary, merges=[], extra_special_tokens=list(CODES))
    config = M2M100Config(
        vocab_size=len(tokenizer), pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2,
        **SIZES,
    )  # fmt: skip
    save(M2M100ForConditionalGeneration, config, tokenizer, folder, seed=seed, never=[0, 1, 3, 4])
    return folder


def save(kind, config, tokenizer, folder, *, seed, never):
    """Save a model that writes at least three tokens, none of `never`."""
    torch.manual_seed(seed)
    model = kind(config)
    with torch.no_grad():  # else a token's own embedding asks for it again, whatever was read
        for layer in model.model.decoder.layers:
            for weight in (layer.encoder_attn.out_proj.weight, layer.fc2.weight):
                weight.mul_(4)
    model.generation_config.update(suppress_tokens=never, min_length=4, no_repeat_ngram_size=2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
