"""Any Hugging Face encoder as a frozen function: files, tokens, blocks, pooling, batches; and translators."""
