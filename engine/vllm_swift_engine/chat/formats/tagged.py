"""Formats whose calls stand between markers, with free text and reasoning around them."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from vllm_swift_engine.chat.calls import recover
from vllm_swift_engine.chat.lark import TEXT, Lark, either
from vllm_swift_engine.chat.reader import Markers, Reader, Steps
from vllm_swift_engine.chat.sink import Sink

from .base import ChatFormat, Function, Want


class TaggedFormat(ChatFormat):
    """Text, then blocks of ``begin`` calls ``end``."""

    #: What begins a block of calls. The first is what the grammar begins one with.
    begins: ClassVar[tuple[str, ...]]
    #: What ends it; empty where nothing does.
    end: ClassVar[str]
    #: White space that models write after ``begin``, before ``end``, and between blocks.
    layout: ClassVar[tuple[str, str, str]] = ("", "", "")

    @abstractmethod
    def read_block(self, reader: Reader, sink: Sink, names: frozenset[str]) -> Steps[str | None]:
        """Reads what is between the markers. Returns what is wrong with it, or None."""

    @abstractmethod
    def block_rule(self, lark: Lark, functions: tuple[Function, ...], several: bool) -> str:
        """The expression for what is between the markers, ``layout`` left out."""

    def blocks_rule(self, lark: Lark, want: Want) -> str:
        """The expression for all blocks, without the first's ``begin``."""
        after, before, between = self.layout
        options = [self.block_rule(lark, (function,), False) for function in want.functions]
        body = f"{_text(lark, after)} {either(options)} {_text(lark, before + self.end)}"
        block = lark.rule(body)
        again = f"({_text(lark, between + self.begins[0])} {block})*" if want.several else ""
        return f"{block} {again}"

    def grammar(self, lark: Lark, want: Want) -> str:
        """Text, or text up to the first ``begin`` and blocks; blocks alone where calls must be."""
        blocks = self.blocks_rule(lark, want)
        if not want.text:
            return f"{lark.text(self.begins[0])} {blocks}"
        if want.answer is not None:
            return f"{want.answer} | {lark.text(self.begins[0])} {blocks}"
        return f"{TEXT} | {lark.until(self.begins[0])} {blocks}"

    def read_answer(self, reader: Reader, sink: Sink, names: frozenset[str]) -> Steps[None]:
        """Text and blocks, in any order."""
        begins = self.begins if names else ()
        reasoning = self.reasoning or ()
        markers = Markers((*begins, *reasoning, *((self.end,) if names and self.end else ())))
        closings = Markers((self.end,)) if self.end else Markers(())
        while (marker := (yield from reader.until(markers, sink.text))) is not None:
            if self.reasoning and marker == self.reasoning.begin:
                yield from self.read_reasoning(reader, sink)
            elif marker in begins:
                sink.border()
                yield from self._block(reader, sink, names, marker, closings)
                sink.border()
            # Else an end without its beginning, which says nothing.

    def _block(
        self, reader: Reader, sink: Sink, names: frozenset[str], begin: str, closings: Markers
    ) -> Steps[None]:
        reader.record()
        error = yield from self.read_block(reader, sink, names)
        if error is not None:
            yield from recover(reader, sink, begin, error, closings)
            return
        yield from reader.space()
        if self.end and (yield from reader.literal(self.end)) is None:
            # A call that is whole stands; what else the block has is text.
            yield from reader.until(closings, sink.text)


def _text(lark: Lark, text: str) -> str:
    return lark.text(text) if text else ""
