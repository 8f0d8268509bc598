"""Misuse of sampling parameters and logprobs: python -m tests.contract.sampling_probes NAME."""

from __future__ import annotations

import sys
from typing import Any

from tests.contract.probes import ffi, lib, loaded_model, poll_buffers, refuse, sampling, submission

ID, FLOAT, LENGTH = ffi.new("int32_t[]", [9]), ffi.new("float[]", [1.0]), ffi.new("uint32_t[1]")
OUTSIDE, NAN = ffi.new("int32_t[]", [2**31 - 1]), float("nan")
BAD_SAMPLING: tuple[dict[str, Any], ...] = (
    {"min_tokens": 17},
    *({name: bad} for name in ("presence_penalty", "frequency_penalty") for bad in (2.5, -3, NAN)),
    *({"repetition_penalty": bad} for bad in (0, -1, NAN, float("inf"))),
    *({name: bad} for name in ("logprobs", "prompt_logprobs") for bad in (-2, 21, 2**31 - 1)),
    {"ignore_eos": 2},
    {"logit_bias_ids": ID, "logit_bias_count": 1},
    {"logit_bias_values": FLOAT, "logit_bias_count": 1},
    {"logit_bias_ids": ID, "logit_bias_values": ffi.new("float[]", [NAN]), "logit_bias_count": 1},
    {
        "logit_bias_ids": ffi.new("int32_t[]", [9, 9]),
        "logit_bias_values": ffi.new("float[2]"),
        "logit_bias_count": 2,
    },
    *({f"{name}_token_count": 1} for name in ("stop", "eos", "allowed")),
    {"bad_word_count": 1},
    {"bad_word_count": 1, "bad_word_tokens": ID, "bad_word_lengths": LENGTH},
    {
        "allowed_token_ids": ID,
        "allowed_token_count": 1,
        "eos_token_ids": ID,
        "eos_token_count": 1,
        "min_tokens": 1,
    },
)
OUTSIDE_SAMPLING: tuple[dict[str, Any], ...] = (
    *(
        {f"{name}_token_ids": OUTSIDE, f"{name}_token_count": 1}
        for name in ("stop", "eos", "allowed")
    ),
    {"logit_bias_ids": OUTSIDE, "logit_bias_values": FLOAT, "logit_bias_count": 1},
    {
        "bad_word_tokens": OUTSIDE,
        "bad_word_lengths": ffi.new("uint32_t[]", [1]),
        "bad_word_count": 1,
    },
)


def sampling_out_of_range() -> None:
    """A bad parameter is refused before the engine hears of the request."""
    with loaded_model() as (_, model):
        requests = ffi.new("vsw_request[1]")
        for code, cases in (
            (lib.VSW_ERROR_INVALID_ARGUMENT, BAD_SAMPLING),
            (lib.VSW_ERROR_INVALID_TOKEN, OUTSIDE_SAMPLING),
        ):
            for fields in cases:
                params, kept = submission(sampling=sampling(**fields))
                refuse(code, lib.vsw_submit, model, params, 1, requests)
        del kept


def logprobs_without_room() -> None:
    """A poll that has no room for a token's logprobs says so, and the token is not lost."""
    with loaded_model() as (runtime, model):
        params, kept = submission(sampling=sampling(logprobs=2, max_tokens=1, temperature=0))
        request = ffi.new("vsw_request[1]")
        assert lib.vsw_submit(model, params, 1, request, ffi.NULL) == lib.VSW_OK
        buffers, events = poll_buffers()
        refuse(lib.VSW_ERROR_INVALID_ARGUMENT, lib.vsw_poll, runtime, buffers, -1)
        buffers.logprob_capacity = lib.VSW_MAX_LOGPROBS + 1
        refuse(lib.VSW_ERROR_INVALID_ARGUMENT, lib.vsw_poll, runtime, buffers, -1)
        logprobs = ffi.new("vsw_logprob[]", lib.VSW_MAX_LOGPROBS + 1)
        buffers.logprobs = logprobs
        assert lib.vsw_poll(runtime, buffers, -1, ffi.NULL) == lib.VSW_OK
        event = buffers.events[0]
        assert (event.token_count, event.logprob_count, event.prompt_token_count) == (1, 3, 0)
        assert [logprobs[i].token for i in (0, 1)] == [buffers.tokens[0]] * 2
        assert [logprobs[i].rank for i in range(3)] == [1, 1, 2]
        assert 0 >= logprobs[1].logprob > logprobs[2].logprob
        del kept, events


if __name__ == "__main__":
    globals()[sys.argv[1]]()
