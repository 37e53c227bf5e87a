"""Fine-tune the winner (`python -m mcbert finetune`): model, dynamic freezing, training, evaluation."""

if __name__ != "mcbert.finetune":  # a checkout on the path would offer it under two names
    raise ImportError("import mcbert.finetune, not finetune")
