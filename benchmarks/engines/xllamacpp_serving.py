"""llama.cpp's server from the `xllamacpp` wheel, directly and over HTTP through `ChatOpenAI`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import xllamacpp
from langchain_openai import ChatOpenAI

from benchmarks.engines.serving import Serving
from benchmarks.engines.xllamacpp_server import checked, parameters

GO_ON = {"ignore_eos": True}


class Engine(Serving):
    def open(self, model: Path, context: int, rows: int) -> None:
        params = parameters(model, context, rows)
        params.port = 0  # any that is free
        self._server = xllamacpp.Server(params)
        address: dict[str, Any] = {
            "base_url": f"{self._server.listening_address}/v1",
            "api_key": "none",
        }
        self._client = openai.AsyncOpenAI(**address, timeout=None)
        self.chat = ChatOpenAI(
            **address,
            model="local",
            temperature=0,
            stream_usage=True,
            extra_body=GO_ON,
            timeout=None,
        )

    def together(self, prompts: list[list[int]], tokens: int) -> int:
        return self._sum("predicted_n", prompts, tokens)

    def computed(self, prompts: list[list[int]]) -> int:
        return self._sum("prompt_n", prompts, 1)

    def _sum(self, count: str, prompts: list[list[int]], tokens: int) -> int:
        def complete(prompt: list[int]) -> int:
            request = {"prompt": prompt, "n_predict": tokens, "temperature": 0, **GO_ON}
            answer = checked(self._server.handle_completions(request), "timings")
            return int(answer["timings"][count])

        with ThreadPoolExecutor(len(prompts)) as pool:
            return sum(pool.map(complete, prompts))

    async def arrivals(self, prompt: list[int], tokens: int) -> AsyncGenerator[None]:
        stream = await self._client.completions.create(
            model="local",
            prompt=prompt,
            max_tokens=tokens,
            temperature=0,
            stream=True,
            extra_body=GO_ON,
        )
        try:
            async for chunk in stream:
                if chunk.choices:
                    yield
        finally:
            await stream.close()
