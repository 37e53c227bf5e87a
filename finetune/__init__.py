"""Fine-tune the winner (`python -m pipeline finetune`): model, dynamic freezing, training, evaluation."""
