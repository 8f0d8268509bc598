from __future__ import annotations

import subprocess
import sys


def _run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_importing_the_models_loads_no_engine() -> None:
    loaded = _run(
        "import sys, vllm_swift_integrations.langchain\n"
        "heavy = ('vllm_swift_engine', 'mlx', 'tokenizers', 'transformers', 'huggingface_hub')\n"
        "print(*[name for name in heavy if name in sys.modules])"
    )
    assert loaded == ""


def test_without_langchain_the_import_says_what_to_install() -> None:
    told = _run(
        "import importlib.util\n"
        "find_spec = importlib.util.find_spec\n"
        "importlib.util.find_spec = (\n"
        "    lambda name, *rest: None if name == 'langchain_core' else find_spec(name, *rest)\n"
        ")\n"
        "try:\n"
        "    import vllm_swift_integrations.langchain\n"
        "except ImportError as error:\n"
        "    print(error)"
    )
    assert "pip install 'vllm-swift-integrations[langchain]'" in told
