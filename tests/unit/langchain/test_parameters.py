"""Constructor and call parameters, which both models share."""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.load import dumps, loads
from langchain_core.runnables import ConfigurableField
from pydantic import SecretStr, ValidationError

from vllm_swift_engine.errors import InvalidArgumentError, UnsupportedError
from vllm_swift_integrations.langchain import ChatVLLMSwift, VLLMSwift

if TYPE_CHECKING:
    from tests.unit.langchain.conftest import FakeEngine

Model = type[ChatVLLMSwift] | type[VLLMSwift]
pytestmark = pytest.mark.parametrize("model", [ChatVLLMSwift, VLLMSwift])


def test_nothing_opens_before_the_first_use(model: Model, engines: list[FakeEngine]) -> None:
    chat = model(model="a/model")
    assert engines == []
    chat.invoke("Hi")
    chat.invoke("Hi")
    assert len(engines) == 1


def test_engine_options_reach_the_engine(model: Model, engines: list[FakeEngine]) -> None:
    model(
        model=Path("a") / "folder",
        device="cpu",
        revision="main",
        token=SecretStr("hf_secret"),
        cache_dir=Path("cache"),
        local_files_only=True,
        max_model_len=512,
        memory_budget=2**30,
        max_num_seqs=8,
        max_num_batched_tokens=128,
        kv_cache_tokens=4096,
        share=False,
    ).invoke("Hi")
    assert engines[0].model == str(Path("a") / "folder")
    own = {"chat_format": None} if model is ChatVLLMSwift else {}
    assert engines[0].options == own | {
        "device": "cpu",
        "revision": "main",
        "token": "hf_secret",
        "cache_dir": "cache",
        "local_files_only": True,
        "max_model_len": 512,
        "memory_budget": 2**30,
        "max_num_seqs": 8,
        "max_num_batched_tokens": 128,
        "kv_cache_tokens": 4096,
        "share": False,
    }


def test_model_name_is_understood(model: Model, engines: list[FakeEngine]) -> None:
    assert model(model_name="a/model").model == "a/model"


def test_fields_are_the_sampling_parameters(model: Model, engines: list[FakeEngine]) -> None:
    model(
        model="a/model",
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        min_p=0.1,
        seed=7,
        max_tokens=3,
        stop=["\n"],
        stop_token_ids=[2],
    ).invoke("Hi")
    (_, params), *_ = _requests(engines)
    assert (params.temperature, params.top_p, params.top_k, params.min_p) == (0.5, 0.9, 40, 0.1)
    assert (params.seed, params.max_tokens) == (7, 3)
    assert (params.stop_strings, params.stop_token_ids) == (("\n",), (2,))


def test_unset_fields_leave_the_defaults(model: Model, engines: list[FakeEngine]) -> None:
    model(model="a/model").invoke("Hi")
    (_, params), *_ = _requests(engines)
    assert (params.temperature, params.top_p, params.seed, params.stop) == (1.0, 1.0, None, None)
    assert params.max_tokens is None, "an answer ends where the model ends it"


def test_a_call_overrides_fields(model: Model, engines: list[FakeEngine]) -> None:
    chat = model(model="a/model", temperature=0.5, max_tokens=3, stop=["\n"])
    chat.invoke("Hi", temperature=0, top_k=5, stop=["END"])
    chat.bind(max_tokens=4).invoke("Hi")
    chat.invoke("Hi", stop=[])
    list(chat.stream("Hi", seed=3))
    called, bound, unstopped, streamed = (params for _, params in _requests(engines))
    assert (called.temperature, called.top_k, called.max_tokens) == (0.0, 5, 3)
    assert called.stop_strings == ("END",)
    assert (bound.temperature, bound.max_tokens, bound.stop_strings) == (0.5, 4, ("\n",))
    assert unstopped.stop_strings == ()
    assert streamed.seed == 3


def test_stop_cuts_the_text(model: Model, engines: list[FakeEngine]) -> None:
    answer = model(model="a/model").invoke("Hi", stop=[" fall"])
    assert getattr(answer, "content", answer) == "Tides rise and"


@pytest.mark.parametrize(
    "options",
    [
        {"temprature": 0.5},
        {"presence_penalty": 2.5},
        {"logprobs": 21},
        {"prompt_logprobs": 1},
        {"tensor_parallel_size": 2},
        {"temperature": -1},
        {"temperature": math.nan},
        {"top_p": 0},
        {"max_tokens": 0},
        {"max_tokens": -5},
        {"device": "tpu"},
    ],
)
def test_a_bad_option_names_itself(
    model: Model, engines: list[FakeEngine], options: dict[str, Any]
) -> None:
    (name,) = options
    with pytest.raises(ValidationError, match=name):
        model(model="a/model", **options)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"presence_penalty": 2.5}, InvalidArgumentError),
        ({"logprobs": -1}, UnsupportedError),
        ({"prompt_logprobs": 3}, UnsupportedError),
        ({"n": 0}, InvalidArgumentError),
        ({"structured_outputs": {"json": {}, "regex": "a"}}, InvalidArgumentError),
        ({"temprature": 0.5}, UnsupportedError),
        ({"temperature": -1}, InvalidArgumentError),
        ({"temperature": math.nan}, InvalidArgumentError),
        ({"max_tokens": 0}, InvalidArgumentError),
        ({"device": "gpu"}, InvalidArgumentError),
    ],
)
def test_a_bad_argument_of_a_call_names_itself_and_opens_nothing(
    model: Model, engines: list[FakeEngine], arguments: dict[str, Any], error: type[Exception]
) -> None:
    (name,) = arguments
    chat = model(model="a/model")
    with pytest.raises(error, match=name):
        chat.invoke("Hi", **arguments)
    with pytest.raises(error, match=name):
        list(chat.stream("Hi", **arguments))
    with pytest.raises(error, match=name):
        chat.batch(["Hi", "Ho"], **arguments)
    assert engines == []


def test_outputs_that_would_be_mixed_are_not_streamed(
    model: Model, engines: list[FakeEngine]
) -> None:
    chat = model(model="a/model")
    with pytest.raises(UnsupportedError, match="n=2"):
        list(chat.stream("Hi", n=2))
    assert engines == []
    chat.invoke("Hi", n=2)
    twice = model(model="a/model", n=2, engines=chat.engines)
    with pytest.raises(UnsupportedError, match="n=2"):
        list(twice.stream("Hi"))
    twice.invoke("Hi")
    assert [params.n for _, params in engines[0].requests] == [2, 2]


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": -1}, {"max_retries": -1}])
def test_limits_out_of_range_name_themselves(model: Model, options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ValidationError, match=name):
        model(model="a/model", **options)


def test_limits_reach_the_engine(model: Model, engines: list[FakeEngine]) -> None:
    chat = model(model="a/model", timeout=30, priority=1, max_retries=2)
    chat.invoke("Hi")
    chat.invoke("Hi", timeout=5, priority=-1)
    list(chat.stream("Hi"))
    usual = {"timeout": 30.0, "priority": 1}
    assert engines[0].limits == [usual, {"timeout": 5, "priority": -1}, usual]


def test_a_call_may_name_another_model(model: Model, engines: list[FakeEngine]) -> None:
    chat = model(model="a/model", max_model_len=512)
    chat.invoke("Hi")
    for _ in range(2):
        chat.invoke("Hi", model=Path("another") / "model")
    assert [engine.model for engine in engines] == ["a/model", str(Path("another") / "model")]
    assert engines[1].options["max_model_len"] == 512
    assert len(engines[1].requests) == 2
    chat.close()
    assert [engine.closed for engine in engines] == [True, True]


def test_configured_fields_share_the_engine(model: Model, engines: list[FakeEngine]) -> None:
    fields = {
        name: ConfigurableField(id=name) for name in ("temperature", "max_model_len", "priority")
    }
    chat = model(model="a/model", max_tokens=3).configurable_fields(**fields)
    chat.invoke("Hi")
    chat.invoke("Hi", {"configurable": {"temperature": 0.5, "priority": 2}})
    assert len(engines) == 1
    ((_, usual), (_, configured)) = engines[0].requests
    assert (usual.temperature, configured.temperature) == (1.0, 0.5)
    assert configured.max_tokens == 3
    assert engines[0].limits[1]["priority"] == 2
    chat.invoke("Hi", {"configurable": {"max_model_len": 128}})
    assert [engine.options["max_model_len"] for engine in engines] == [None, 128]


def test_the_hubs_token_comes_from_the_environment(
    model: Model, engines: list[FakeEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    chat = model(model="a/model")
    chat.invoke("Hi")
    assert engines[0].options["token"] == "hf_secret"
    assert "hf_secret" not in repr(chat) + dumps(chat)
    assert model(model="a/model", api_key="hf_other").token == SecretStr("hf_other")


async def test_a_bad_argument_of_an_async_call_names_itself(
    model: Model, engines: list[FakeEngine]
) -> None:
    chat = model(model="a/model")
    with pytest.raises(UnsupportedError, match="detokenize"):
        await chat.ainvoke("Hi", detokenize=False)
    with pytest.raises(UnsupportedError, match="detokenize"):
        async for _ in chat.astream("Hi", detokenize=False):
            pass


def test_traces_have_the_stop_strings_in_force(model: Model, engines: list[FakeEngine]) -> None:
    chat = model(model="a/model", stop="END")
    assert chat._get_ls_params()["ls_stop"] == ["END"]
    assert chat._get_ls_params(stop=["\n"])["ls_stop"] == ["\n"]


def test_a_secret_stays_secret(model: Model, engines: list[FakeEngine]) -> None:
    chat = model(model="a/model", token=SecretStr("hf_secret"))
    assert "hf_secret" not in repr(chat) + dumps(chat) + str(chat.asdict())
    with pytest.raises(ValidationError) as refused:
        model(model="a/model", token="hf_secret", max_tokens=0)
    assert "hf_secret" not in str(refused.value)


def test_serialized_and_loaded(
    model: Model, engines: list[FakeEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = model(model="a/model", temperature=0.5, token=SecretStr("hf_secret"), stop=["\n"])
    loaded = loads(
        dumps(chat),
        allowed_objects=[model],
        valid_namespaces=["vllm_swift_integrations"],
        secrets_map={"HF_TOKEN": "hf_secret"},
    )
    assert loaded.model_dump() == chat.model_dump()
    assert type(loaded) is model


def test_copies_and_pickles_have_an_engine_of_their_own(
    model: Model, engines: list[FakeEngine]
) -> None:
    chat = model(model="a/model", temperature=0.5)
    chat.invoke("Hi")
    other = chat.model_copy(update={"model": "another/model"})
    for copied in (other, copy.copy(chat), copy.deepcopy(chat), pickle.loads(pickle.dumps(chat))):
        copied.invoke("Hi")
    assert [engine.model for engine in engines] == ["a/model", "another/model"] + ["a/model"] * 3


def test_close_frees_the_engine_and_a_later_call_opens_another(
    model: Model, engines: list[FakeEngine]
) -> None:
    chat = model(model="a/model")
    chat.close()
    chat.invoke("Hi")
    chat.close()
    chat.close()
    assert [engine.closed for engine in engines] == [True]
    chat.invoke("Hi")
    assert [engine.closed for engine in engines] == [True, False]


def test_a_with_block_opens_and_closes(model: Model, engines: list[FakeEngine]) -> None:
    with model(model="a/model"):
        assert [engine.closed for engine in engines] == [False]
    assert engines[0].closed


def test_a_chat_format_decides_which_tokens_are_text(
    model: Model, engines: list[FakeEngine]
) -> None:
    made = model(model="a/model")
    if model is ChatVLLMSwift:
        with pytest.raises(UnsupportedError, match=r"skip_special_tokens.*chat format"):
            made.invoke("Hi", skip_special_tokens=False)
        assert engines == []
    else:
        made.invoke("Hi", skip_special_tokens=False)
        ((_, params),) = engines[0].requests
        assert not params.skip_special_tokens


def _requests(engines: list[FakeEngine]) -> list[tuple[Any, Any]]:
    return [request for engine in engines for request in engine.requests]
