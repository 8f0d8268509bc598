"""LangChain and LlamaIndex classes that run language models inside your process."""
