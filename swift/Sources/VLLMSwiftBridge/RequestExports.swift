import CVLLMSwift
import VLLMSwiftCore
import VLLMSwiftEngine

// MARK: - Submitting

@_cdecl("vsw_sampling_params_default")
public func samplingParamsDefault(_ params: UnsafeMutablePointer<vsw_sampling_params>?) {
  guard let params, (try? vsw_sampling_params.check(params)) != nil else { return }
  let defaults = SamplingParams()
  var result = vsw_sampling_params()
  result.struct_size = params.pointee.struct_size
  result.max_tokens = UInt32(defaults.maxTokens)
  result.n = 1
  result.temperature = defaults.temperature
  result.top_p = defaults.topP
  result.repetition_penalty = 1
  result.logprobs = -1
  result.prompt_logprobs = -1
  params.pointee = result
}

@_cdecl("vsw_submit")
public func submit(
  _ model: OpaquePointer?, _ params: UnsafePointer<vsw_submit_params>?, _ count: Int,
  _ requests: UnsafeMutablePointer<vsw_request>?, _ error: UnsafeMutablePointer<vsw_error>?
) -> vsw_status {
  status(error) {
    let model = try Handles.models.object(model)
    guard count >= 1 else { throw EngineError(.invalidArgument, "count is \(count)") }
    let requests = try required(requests, "requests")
    let first = UnsafeRawPointer(try required(params, "params"))
    // The caller's array has the caller's stride.
    let stride = Int(first.loadUnaligned(as: UInt32.self))
    let prompts = try (0..<count).map { index in
      let params = (first + index * stride).assumingMemoryBound(to: vsw_submit_params.self)
      try vsw_submit_params.check(params)
      return try params.pointee.prompt(for: model)
    }
    for (index, name) in try model.runtime.submit(prompts, to: model.id).enumerated() {
      requests[index] = name
    }
  }
}

// MARK: - Reading

@_cdecl("vsw_poll")
public func poll(
  _ runtime: OpaquePointer?, _ buffers: UnsafeMutablePointer<vsw_poll_buffers>?,
  _ timeout: Int64, _ error: UnsafeMutablePointer<vsw_error>?
) -> vsw_status {
  status(error) {
    let buffers = try required(buffers, "buffers")
    try vsw_poll_buffers.check(buffers)
    let (events, tokens) = (buffers.pointee.events, buffers.pointee.tokens)
    let logprobs = buffers.pointee.logprobs
    guard let events, let tokens, buffers.pointee.event_capacity >= 1,
      buffers.pointee.token_capacity >= 1
    else {
      throw EngineError(.invalidArgument, "a poll needs room for one event and one token at least")
    }
    guard buffers.pointee.logprob_capacity == 0 || logprobs != nil else {
      throw EngineError(.invalidArgument, "logprobs is NULL, and logprob_capacity is not 0")
    }
    // The C call has no way to say "later than the end of time".
    let wait = timeout < 0 ? nil : min(timeout, 1 << 50)
    let room = EventRoom(
      events: Int(buffers.pointee.event_capacity), tokens: Int(buffers.pointee.token_capacity),
      logprobs: Int(buffers.pointee.logprob_capacity))
    let taken = try Handles.runtimes.object(runtime).poll(room, microseconds: wait)
    var (used, usedLogprobs) = (0, 0)
    for (index, event) in taken.enumerated() {
      let count = event.promptLogprobs.count + event.logprobs.count
      events[index] = vsw_event(
        request: event.sequence.request, sequence: UInt32(event.sequence.index),
        finish_reason: event.finish?.rawValue ?? 0,
        token_offset: UInt32(used), token_count: UInt32(event.tokens.count),
        logprob_offset: UInt32(usedLogprobs), logprob_count: UInt32(count),
        stop_token: event.stopToken ?? -1, prompt_token_count: UInt32(event.promptTokens))
      for token in event.tokens {
        tokens[used] = token
        used += 1
      }
      for part in [event.promptLogprobs, event.logprobs] {
        for logprob in part {
          logprobs?[usedLogprobs] = logprob.c
          usedLogprobs += 1
        }
      }
    }
    buffers.pointee.event_count = UInt32(taken.count)
    buffers.pointee.token_count = UInt32(used)
  }
}

@_cdecl("vsw_wake")
public func wake(_ runtime: OpaquePointer?) {
  try? Handles.runtimes.object(runtime).wake()
}

@_cdecl("vsw_request_get_info")
public func requestGetInfo(
  _ runtime: OpaquePointer?, _ request: vsw_request,
  _ info: UnsafeMutablePointer<vsw_request_info>?, _ error: UnsafeMutablePointer<vsw_error>?
) -> vsw_status {
  status(error) {
    let info = try required(info, "info")
    try vsw_request_info.check(info)
    let known = try Handles.runtimes.object(runtime).info(request)
    var result = vsw_request_info()
    result.struct_size = info.pointee.struct_size
    result.prompt_tokens = UInt32(clamping: known.promptTokens)
    result.cached_tokens = UInt32(clamping: known.cachedTokens)
    result.output_tokens = UInt32(clamping: known.outputTokens)
    result.queue_us = known.queued.microseconds
    result.prefill_us = known.prefill.microseconds
    result.decode_us = known.decode.microseconds
    known.error?.fill(&result.error)
    info.pointee = result
  }
}

// MARK: - Ending

@_cdecl("vsw_cancel")
public func cancel(_ runtime: OpaquePointer?, _ request: vsw_request) {
  try? Handles.runtimes.object(runtime).cancel(request)
}

@_cdecl("vsw_cancel_sequence")
public func cancelSequence(_ runtime: OpaquePointer?, _ request: vsw_request, _ sequence: UInt32) {
  try? Handles.runtimes.object(runtime).cancel(
    SequenceID(request: request, index: Int(sequence)))
}

@_cdecl("vsw_release")
public func release(_ runtime: OpaquePointer?, _ request: vsw_request) {
  try? Handles.runtimes.object(runtime).release(request)
}
