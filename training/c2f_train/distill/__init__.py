"""Small students of a vector-quantized mask tokenizer: masks alone teach them, `c2f-train distill`."""
