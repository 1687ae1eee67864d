"""The network: tokenizer, image encoder, transformer, refiner, and the plain U-Net it is compared with."""
