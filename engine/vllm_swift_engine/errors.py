"""Every error this package raises, as one tree.

The classes below the groups map one to one to the codes in ``vllm_swift.h``; :data:`CLASS_BY_CODE`
is that table. Errors found before the native library can be asked (a wrong sampling parameter, a
mistyped path) are the same classes with the same codes.
"""

from __future__ import annotations


class VLLMSwiftError(Exception):
    """Base of all errors. ``code`` is the number in ``vllm_swift.h``, None for load-time errors."""

    code: int | None = None


class CallerError(VLLMSwiftError):
    """The request cannot be served as it is; change the request."""


class InvalidArgumentError(CallerError, ValueError):
    """An argument is out of range or of the wrong type."""

    code = 10


class InvalidHandleError(CallerError):
    """A native object was used after it was destroyed."""

    code = 11


class UnsupportedError(CallerError):
    """A parameter or feature that is known but not built yet; never ignored in silence."""

    code = 12


class InvalidGrammarError(InvalidArgumentError):
    """A schema, regex or grammar cannot be read, or leaves no token to draw."""

    code = 16


class UnsupportedSchemaError(UnsupportedError):
    """A keyword of a JSON schema that no grammar here can enforce.

    Attributes:
        keyword: its name.
        path: a JSON pointer to it.
    """

    def __init__(self, keyword: str, path: str, reason: str) -> None:
        super().__init__(f"The schema's {keyword!r} at {path or '/'} is not supported: {reason}")
        self.keyword = keyword
        self.path = path


class UnenforcedSchemaWarning(UserWarning):
    """What a schema asks for and its grammar, outside of strict mode, leaves out."""


class EmptyPromptError(CallerError, ValueError):
    """The prompt has no tokens."""

    code = 13


class PromptTooLongError(CallerError, ValueError):
    """The prompt leaves no room in the model's context."""

    code = 14


class InvalidTokenError(CallerError, ValueError):
    """A token id is outside the vocabulary."""

    code = 15


class ModelError(VLLMSwiftError):
    """The model's files cannot be used."""


class ModelNotFoundError(ModelError):
    """No model at that path or under that Hub name."""

    code = 30


class ModelCorruptError(ModelError):
    """A model file is damaged or incomplete."""

    code = 31


class UnsupportedArchitectureError(ModelError):
    """The model's architecture is not built yet."""

    code = 32


class UnsupportedQuantizationError(ModelError):
    """The weights are stored in a format that is not built yet."""

    code = 33


class CapacityError(VLLMSwiftError):
    """It would be served, were there room."""


class MemoryBudgetError(CapacityError):
    """The model does not fit into ``memory_budget``."""

    code = 50


class RequestTooLargeError(CapacityError):
    """The request needs more KV cache than the model has in all."""

    code = 51


class GrammarTooComplexError(CapacityError):
    """Compiling a grammar, or following it, takes more time or memory than it may."""

    code = 52


class BackendError(VLLMSwiftError):
    """MLX, a device or a kernel failed."""

    code = 70


class DeviceUnavailableError(BackendError):
    """The chosen device, or the chosen kernels, are not on this machine."""

    code = 71


class LifecycleError(VLLMSwiftError):
    """The object is gone, or this process is not the one that made it."""


class EngineClosedError(LifecycleError):
    """The engine was closed."""

    code = 90


class ForkedProcessError(LifecycleError):
    """The engine belongs to the parent process; native threads do not survive ``fork``."""

    code = 91


class EngineAsleepError(LifecycleError):
    """The engine's model was put to sleep; ``wake`` brings it back."""


class RequestCancelledError(LifecycleError):
    """The request was cancelled before it finished."""

    code = 92


class RequestTimeoutError(LifecycleError, TimeoutError):
    """The request had not ended when its ``timeout`` was over."""

    code = 93


class InternalError(VLLMSwiftError):
    """A defect in this package; please report it."""

    code = 99


class PrefixFileError(VLLMSwiftError):
    """A saved prefix is damaged, or of another model, revision or cache format."""


class LibraryError(VLLMSwiftError):
    """The native library cannot be loaded."""


class LibraryNotFoundError(LibraryError):
    """The native library, or the MLX library it needs, is missing or cannot be linked."""


class ABIMismatchError(LibraryError):
    """The native library was built from another ``vllm_swift.h`` than this package."""


class MLXVersionError(LibraryError):
    """The installed MLX is not the release that the native library was built against."""


class GrammarLibraryError(LibraryError):
    """llguidance, which grammars need, is missing, or of another version."""

    code = 72


_CLASSES: tuple[type[VLLMSwiftError], ...] = (
    InvalidArgumentError,
    InvalidHandleError,
    UnsupportedError,
    EmptyPromptError,
    PromptTooLongError,
    InvalidTokenError,
    InvalidGrammarError,
    ModelNotFoundError,
    ModelCorruptError,
    UnsupportedArchitectureError,
    UnsupportedQuantizationError,
    MemoryBudgetError,
    RequestTooLargeError,
    GrammarTooComplexError,
    BackendError,
    DeviceUnavailableError,
    GrammarLibraryError,
    EngineClosedError,
    ForkedProcessError,
    RequestCancelledError,
    RequestTimeoutError,
    InternalError,
)

#: The class of each native error code.
CLASS_BY_CODE: dict[int, type[VLLMSwiftError]] = {
    error.code: error for error in _CLASSES if error.code is not None
}


def from_code(code: int, message: str) -> VLLMSwiftError:
    """The exception for a native error; a code this package does not know is a plain base error."""
    error = CLASS_BY_CODE.get(code, VLLMSwiftError)(message)
    error.code = code
    return error
