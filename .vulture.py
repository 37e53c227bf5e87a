"""Names that are used from outside: by transformers, torch, tokenizers, jinja and dataclasses."""

_.__post_init__
__getattr__  # results.read and results.compare, imported when used
__dir__
_.two_d_array  # scikit-learn
_.one_d_array
_.requires_fit
_.preserves_dtype
_._n_features_out
_.on_train_begin  # TrainerCallback
_.on_epoch_begin
_.on_epoch_end
_.on_step_end
_.on_log
_.should_log
_.should_training_stop
_.get_train_dataloader  # Trainer
_._save_checkpoint
_._load_from_checkpoint
_._load_optimizer_and_scheduler
_._load_scaler
_._load_rng_state
_.grad  # torch
_.model_type  # PreTrainedConfig and PreTrainedModel
_.sub_configs
_.config_class
_.supports_gradient_checkpointing
_.accepts_loss_kwargs
_.forward
_.tie_last_hidden_states
_.filters  # jinja
_.normalizer  # tokenizers
_.pre_tokenizer
_.decoder
_.post_processor
_.padding_side  # tokenizers of transformers
_._tokenize
_.special_tokens  # read by dataclasses.asdict
_.storage_dtype
_.tokens_per_batch
_._offline  # fixtures
_._one_thread
_.log_of_its_own
_.quick
_.handle_starttag  # HTMLParser
_.handle_endtag
_.handle_data
_.tell  # file objects that h5py writes to
_.flush
_.readable  # raw streams that io reads from
_._USE_PSUTIL  # loky
LayerPooling  # modules.json of sentence-transformers
_.get_sentence_embedding_dimension
_.efConstruction  # faiss
_.efSearch
pytest_collection_modifyitems  # pytest
_.__get_pydantic_core_schema__  # pydantic
