"""Formats whose calls stand between markers, with free text and reasoning around them."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from vllm_swift_engine.chat.calls import recover
from vllm_swift_engine.chat.lark import TEXT, Lark, either
from vllm_swift_engine.chat.reader import Markers, Reader, Steps
from vllm_swift_engine.chat.sink import Sink

from .base import ChatFormat, Function, Tools, Want, repeated


class TaggedFormat(ChatFormat):
    """Text, then blocks of ``begin`` calls ``end``."""

    #: What begins a block of calls. The first is what the grammar begins one with.
    begins: ClassVar[tuple[str, ...]]
    #: What ends it; empty where nothing does.
    end: ClassVar[str] = ""
    #: White space that models write after ``begin``, before ``end``, and between calls.
    layout: tuple[str, str, str] = ("", "", "")
    #: Markers that say nothing.
    silent: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def read_block(self, reader: Reader, sink: Sink, tools: Tools, begin: str) -> Steps[str | None]:
        """Reads what is between the markers. Returns what is wrong with it, or None."""

    @abstractmethod
    def call_rule(self, lark: Lark, function: Function) -> str:
        """The expression for one call, without markers."""

    def blocks_rule(self, lark: Lark, want: Want) -> str:
        """The expression for all blocks, without the first's ``begin``. One call a block."""
        after, before, between = (lark.text(space) for space in self.layout)
        call = either([self.call_rule(lark, function) for function in want.functions])
        block = lark.rule(f"{after} {call} {before} {lark.text(self.end)}")
        return repeated(block, f"{between} {lark.text(self.begins[0])}", want.several)

    def grammar(self, lark: Lark, want: Want) -> str:
        """Text, or text up to the first ``begin`` and blocks; blocks alone where calls must be."""
        if not want.functions:
            return want.answer or TEXT
        blocks = self.blocks_rule(lark, want)
        if not want.text:
            return f"{lark.text(self.begins[0])} {blocks}"
        if want.answer is not None:
            return f"{want.answer} | {lark.text(self.begins[0])} {blocks}"
        return f"{TEXT} | {lark.until(self.begins[0])} {blocks}"

    def read_answer(self, reader: Reader, sink: Sink, tools: Tools) -> Steps[None]:
        """Text and blocks, in any order."""
        ends = [self.end] if self.end else []
        begins = self.begins if tools else ()
        ours = [*begins, *ends] if tools else []
        markers = Markers([*ours, *self.silent, *(self.reasoning or ())])
        while (marker := (yield from reader.until(markers, sink.text))) is not None:
            if self.reasoning and marker == self.reasoning.begin:
                yield from self.read_reasoning(reader, sink)
            elif marker in begins:
                sink.border()
                yield from self._block(reader, sink, tools, marker, Markers(ends))
                sink.border()
            elif marker in self.silent:
                sink.border()
            # Else an end without its beginning, which says nothing.

    def _block(
        self, reader: Reader, sink: Sink, tools: Tools, begin: str, closings: Markers
    ) -> Steps[None]:
        reader.record()
        error = yield from self.read_block(reader, sink, tools, begin)
        if error is not None:
            yield from recover(reader, sink, begin, error, closings)
            return
        if not self.end:
            return
        yield from reader.space()
        if (yield from reader.literal(self.end)) is None:
            # A call that is whole stands; what else the block has is text.
            yield from reader.until(closings, sink.text)


class ListedFormat(TaggedFormat):
    """Blocks that are a JSON list of all calls."""

    def blocks_rule(self, lark: Lark, want: Want) -> str:
        """One block."""
        after, before, between = (lark.text(space) for space in self.layout)
        call = either([self.call_rule(lark, function) for function in want.functions])
        calls = repeated(call, f"{lark.text(',')} {between}", want.several)
        bracket = lark.text("]")
        return f"{after} {lark.text('[')} {calls} {bracket} {before} {lark.text(self.end)}"
