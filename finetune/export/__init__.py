"""Models as folders that others load: transformers, ONNX, skops, with their cards."""
