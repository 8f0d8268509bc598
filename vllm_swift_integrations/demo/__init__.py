"""A LangChain chain that answers two questions about a short text.

`python -m vllm_swift_integrations.demo` runs it on SmolLM2-135M-Instruct, which ships as a Python
package; `--model` takes any folder, `.gguf` file or Hub repository.
"""
