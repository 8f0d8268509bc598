"""Model folders and files: where they are, their metadata, tokenizer and chat template."""
