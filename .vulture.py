"""Names of the packages that are used from outside them, each with by whom."""

__getattr__  # the interpreter: mcbert's public names, imported when first used
__dir__
_.__call__  # whoever is given an executor or a progress display (mcbert.execution)
_.pearson  # dataclasses.asdict
_.abstaining  # templates of the model cards
_.history_  # users of the estimators, as scikit-learn names what was fitted
_.freezing_
_.folder_
_.best_index_
_.best_score_
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
_.auto_map  # PreTrainedConfig and PreTrainedModel
_.sub_configs
_.supports_gradient_checkpointing
_.accepts_loss_kwargs
_.pooler_output  # read by its name: finetune.evaluation
_.var_  # StandardScaler
_.n_features_in_  # scikit-learn
_.filters  # jinja
_.attributes  # templates of the report
_.truncate  # h5py
_._USE_PSUTIL  # loky
LayerPooling  # modules.json of sentence-transformers
_.get_sentence_embedding_dimension
_.efConstruction  # faiss
_.efSearch

_.__get_pydantic_core_schema__  # pydantic
