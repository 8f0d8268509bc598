"""The block pool and the prefix index against a model of them, over 10,000 random steps.

The model is a trie of Python objects and a list in the order of release; the code under test hashes
chains of blocks and links a ring through arrays. The index is never told which blocks a sequence
shares: the model decides that from the tokens.
"""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from scripts.native import BuildError, build_product

BLOCK = 32
STEPS = 10_000
EXAMPLES = 300
#: Sequences at once that a new one may join.
RUNNING = 4

SALTS = st.integers(0, 1)
KINDS = st.lists(st.integers(0, 2), min_size=1, max_size=4)
WHICH = st.integers(0, 99)


@pytest.fixture(scope="module")
def library() -> Any:
    try:
        path = build_product("coreprobe")
    except BuildError as error:
        pytest.fail(f"{error}")
    loaded = ctypes.CDLL(str(path))
    loaded.probe_create.restype = ctypes.c_void_p
    for name in ("match", "take", "hold", "let_go", "register", "reset", "available", "idle"):
        function = getattr(loaded, f"probe_{name}")
        function.argtypes = [ctypes.c_void_p, *_ARGUMENTS.get(name, ())]
    loaded.probe_destroy.argtypes = [ctypes.c_void_p]
    return loaded


_INTS = ctypes.POINTER(ctypes.c_int32)
_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "match": (_INTS, ctypes.c_int32, ctypes.c_uint8, ctypes.c_int32, _INTS, _INTS),
    "hold": (_INTS, ctypes.c_int32),
    "let_go": (_INTS, ctypes.c_int32),
    "register": (_INTS, ctypes.c_int32, ctypes.c_int32),
}


def ints(values: list[int]) -> Any:
    return (ctypes.c_int32 * max(1, len(values)))(*values)


def tokens_of(kinds: list[int]) -> list[int]:
    """Blocks' tokens: kinds differ in their last token alone, or in their first."""
    return [token for kind in kinds for token in ([kind % 2] + [7] * (BLOCK - 2) + [kind // 2])]


class Node:
    """A known prefix."""

    def __init__(self, parent: Node | None, kind: int, block: int) -> None:
        self.parent, self.kind, self.block = parent, kind, block
        self.children: dict[int, Node] = {}
        self.known = True

    def forget(self) -> None:
        self.known = False
        if self.parent is not None and self.parent.children.get(self.kind) is self:
            del self.parent.children[self.kind]


class Sequence:
    def __init__(self, salt: int, kinds: list[int], blocks: list[int], end: Node | None, name: int):
        self.salt, self.kinds, self.blocks = salt, kinds, blocks
        #: How many blocks were registered, the prefix that they are, and its name in the probe.
        self.registered = len(blocks)
        self.end: Node | None = end
        self.name = name


def machine(library: Any) -> type[RuleBasedStateMachine]:
    class PrefixCacheMachine(RuleBasedStateMachine):
        #: Of all runs.
        steps = evictions = found = 0

        @initialize(capacity=st.integers(1, 10))
        def create(self, capacity: int) -> None:
            self.capacity = capacity
            self.probe = library.probe_create(capacity)
            self.forget_everything()

        def forget_everything(self) -> None:
            self.roots = {salt: Node(None, -1, -1) for salt in (0, 1)}
            self.node_of: dict[int, Node] = {}  # by block
            self.holders = dict.fromkeys(range(self.capacity), 0)
            self.idle: list[int] = []  # oldest release first
            self.sequences: list[Sequence] = []

        def teardown(self) -> None:
            if hasattr(self, "probe"):
                for sequence in self.sequences:
                    self.let_go(sequence)
                assert library.probe_available(self.probe) == self.capacity
                library.probe_destroy(self.probe)

        # -------------------------------------------------------------- what the model expects

        def hold(self, block: int) -> None:
            if self.holders[block] == 0:
                assert block in self.idle, "a block is found that holds nothing"
                self.idle.remove(block)
            self.holders[block] += 1

        def take(self) -> int | None:
            free = [b for b, n in self.holders.items() if n == 0 and b not in self.idle]
            block = library.probe_take(self.probe)
            if block == -1:
                assert not free
                assert not self.idle
                return None
            assert self.holders[block] == 0, "a held block is handed out"
            if free:
                assert block in free, "a known prefix is lost although a block is free"
            else:
                assert block == self.idle.pop(0), "not the prefix that was let go first is lost"
                self.node_of.pop(block).forget()
                type(self).evictions += 1
            self.holders[block] = 1
            return block

        def let_go(self, sequence: Sequence) -> None:
            library.probe_let_go(self.probe, ints(sequence.blocks), len(sequence.blocks))
            for block in reversed(sequence.blocks):
                self.holders[block] -= 1
                assert self.holders[block] >= 0
                if self.holders[block] == 0 and block in self.node_of:
                    self.idle.append(block)

        def known(self, salt: int, kinds: list[int], limit: int) -> tuple[list[int], Node]:
            node, blocks = self.roots[salt], []
            for kind in kinds[:limit]:
                if kind not in node.children:
                    break
                node = node.children[kind]
                blocks.append(node.block)
            return blocks, node

        # -------------------------------------------------------------- what happens

        def begin(self, salt: int, kinds: list[int], limit: int) -> Sequence:
            tokens, blocks, end = tokens_of(kinds), ints([0] * len(kinds)), ctypes.c_int32()
            count = library.probe_match(
                self.probe, ints(tokens), len(tokens), salt, limit, blocks, ctypes.byref(end)
            )
            expected, node = self.known(salt, kinds, limit)
            assert blocks[:count] == expected
            type(self).found += len(expected)
            library.probe_hold(self.probe, blocks, count)
            for block in expected:
                self.hold(block)
            sequence = Sequence(salt, kinds[:count], expected, node, end.value)
            self.sequences.append(sequence)
            return sequence

        def grow(self, sequence: Sequence, kinds: list[int]) -> None:
            for kind in kinds:
                block = self.take()
                if block is None:
                    return
                sequence.blocks.append(block)
                sequence.kinds.append(kind)

        def register(self, sequence: Sequence) -> None:
            while sequence.registered < len(sequence.blocks) and sequence.end is not None:
                index = sequence.registered
                kind, block = sequence.kinds[index], sequence.blocks[index]
                sequence.name = library.probe_register(
                    self.probe, ints(tokens_of([kind])), sequence.name, block
                )
                assert (sequence.name == -1) == (not sequence.end.known)
                if not sequence.end.known:
                    sequence.end = None
                    return
                if kind not in sequence.end.children:
                    node = Node(sequence.end, kind, block)
                    sequence.end.children[kind] = self.node_of[block] = node
                sequence.end = sequence.end.children[kind]
                sequence.registered += 1

        def finish(self, sequence: Sequence) -> None:
            self.sequences.remove(sequence)
            self.let_go(sequence)

        @precondition(lambda self: len(self.sequences) < RUNNING)
        @rule(salt=SALTS, kinds=KINDS, ends=st.booleans())
        def a_sequence_comes(self, salt: int, kinds: list[int], ends: bool) -> None:
            """It begins with what is known of it, and computes and registers the rest."""
            sequence = self.begin(salt, kinds, len(kinds))
            self.grow(sequence, kinds[len(sequence.blocks) :])
            self.register(sequence)
            if ends:
                self.finish(sequence)

        @precondition(lambda self: len(self.sequences) < RUNNING)
        @rule(salt=SALTS, kinds=KINDS, limit=st.integers(0, 3))
        def two_compute_the_same(self, salt: int, kinds: list[int], limit: int) -> None:
            """One that does not use all that is known: its blocks are not the ones in the index."""
            sequence = self.begin(salt, kinds, limit)
            self.grow(sequence, kinds[len(sequence.blocks) :])

        @precondition(lambda self: self.sequences)
        @rule(which=WHICH, kinds=KINDS)
        def one_computes_more(self, which: int, kinds: list[int]) -> None:
            self.grow(self.sequences[which % len(self.sequences)], kinds)

        @precondition(lambda self: self.sequences)
        @rule(which=WHICH)
        def one_registers(self, which: int) -> None:
            self.register(self.sequences[which % len(self.sequences)])

        @precondition(lambda self: self.sequences)
        @rule(which=WHICH)
        def one_forks(self, which: int) -> None:
            """Another sequence shares all its blocks, and registers none of them."""
            source = self.sequences[which % len(self.sequences)]
            library.probe_hold(self.probe, ints(source.blocks), len(source.blocks))
            for block in source.blocks:
                self.hold(block)
            copy = Sequence(source.salt, [*source.kinds], [*source.blocks], None, -1)
            self.sequences.append(copy)

        @precondition(lambda self: self.sequences)
        @rule(which=WHICH)
        def one_ends(self, which: int) -> None:
            self.finish(self.sequences[which % len(self.sequences)])

        @precondition(lambda self: len(self.idle) > 3)
        @rule(really=st.integers(0, 99))
        def a_step_fails(self, really: int) -> None:
            if really == 99:
                library.probe_reset(self.probe)
                self.forget_everything()

        @invariant()
        def the_counts_agree(self) -> None:
            type(self).steps += 1
            if hasattr(self, "probe"):
                held = sum(count > 0 for count in self.holders.values())
                assert library.probe_available(self.probe) == self.capacity - held
                assert library.probe_idle(self.probe) == len(self.idle)

    return PrefixCacheMachine


def test_the_cache_does_what_its_model_does(library: Any) -> None:
    checked = machine(library)
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        checked,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=100,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    # Else it would have shown little.
    assert checked.steps >= STEPS
    assert checked.evictions >= STEPS // 10
    assert checked.found >= STEPS // 20
