"""Models as folders that others load: the library's, ONNX, skops, with their cards."""
