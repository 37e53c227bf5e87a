"""Names of tests, benchmarks and samples that are used from outside them, each with by whom."""

_._offline  # pytest
_._one_thread
_.log_of_its_own
_.quick_collections
pytest_collection_modifyitems
_.handle_starttag  # HTMLParser
_.handle_endtag
_.handle_data
_.pre_tokenizer  # tokenizers
_.post_processor
_.padding_side  # tokenizers of transformers
_._tokenize
