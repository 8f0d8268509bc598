import CVLLMSwift

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// Random numbers that a seed determines (SplitMix64: Steele et al., 2014).
struct Dice: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  mutating func roll(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }
}

/// One of the requests that are made over and over. Its parameters point to nothing.
struct Ask: @unchecked Sendable {
  let prompt: [Int32]
  let sampling: vsw_sampling_params

  /// Greedy and seeded ones; some with penalties, logprobs, several outputs, a shared beginning.
  init(_ number: Int, _ dice: inout Dice) {
    let shared = (0..<64).map { Int32(1 + $0 * 7 % 200) }
    let tail = (0..<dice.roll(1...20)).map { _ in Int32(dice.roll(1...250)) }
    prompt = (number % 3 == 0 ? Array(shared.prefix(dice.roll(20...64))) : []) + tail
    var params = vsw_sampling_params()
    params.struct_size = UInt32(MemoryLayout<vsw_sampling_params>.size)
    vsw_sampling_params_default(&params)
    params.max_tokens = UInt32(dice.roll(1...24))
    params.temperature = number % 2 == 0 ? 0 : 1
    (params.has_seed, params.seed) = (1, UInt64(number))
    params.n = number % 5 == 4 ? 2 : 1
    if number % 4 == 1 { params.repetition_penalty = 1.3 }
    if number % 4 == 2 { params.logprobs = 2 }
    if number % 8 == 6 { params.prompt_logprobs = 1 }
    sampling = params
  }
}

/// The status of a call that must not fail.
func must(_ call: (UnsafeMutablePointer<vsw_error>) -> vsw_status) {
  var error = vsw_error()
  guard call(&error) != 0 else { return }
  let text = withUnsafeBytes(of: error.message) {
    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
  }
  fail("a call failed: \(error.code) \(text)")
}

func fail(_ why: String) -> Never {
  print("FAILED: \(why)")
  exit(1)
}

/// The handles of a runtime and a model in it; names, so any thread may use them.
struct Engine: @unchecked Sendable {
  let file: OpaquePointer
  let runtime: OpaquePointer
  let model: OpaquePointer

  /// With so small a KV cache that sequences are preempted.
  init(model path: String) {
    var (file, runtime, model): (OpaquePointer?, OpaquePointer?, OpaquePointer?)
    must { vsw_model_file_open(path, &file, $0) }
    var params = vsw_runtime_params()
    params.struct_size = UInt32(MemoryLayout<vsw_runtime_params>.size)
    params.threads = 3
    must { vsw_runtime_create(&params, &runtime, $0) }
    must { Engine.load(file!, into: runtime!, &model, $0) }
    (self.file, self.runtime, self.model) = (file!, runtime!, model!)
  }

  static func load(
    _ file: OpaquePointer, into runtime: OpaquePointer, _ model: inout OpaquePointer?,
    _ error: UnsafeMutablePointer<vsw_error>
  ) -> vsw_status {
    var params = vsw_model_params()
    params.struct_size = UInt32(MemoryLayout<vsw_model_params>.size)
    params.device = Int32(VSW_DEVICE_CPU)
    (params.max_num_seqs, params.max_num_batched_tokens) = (6, 24)
    params.kv_cache_tokens = 384
    return vsw_model_load(runtime, file, &params, &model, error)
  }

  /// - Returns: the request's name.
  func submit(
    _ ask: Ask, to model: OpaquePointer? = nil, timeout: UInt64 = 0, priority: Int32 = 0
  ) -> vsw_request {
    var name: vsw_request = 0
    var sampling = ask.sampling
    ask.prompt.withUnsafeBufferPointer { tokens in
      withUnsafePointer(to: &sampling) { sampling in
        var params = vsw_submit_params()
        params.struct_size = UInt32(MemoryLayout<vsw_submit_params>.size)
        (params.tokens, params.token_count) = (tokens.baseAddress, tokens.count)
        (params.sampling, params.timeout_us, params.priority) = (sampling, timeout, priority)
        must { vsw_submit(model ?? self.model, &params, 1, &name, $0) }
      }
    }
    return name
  }

  /// Waits for events; none once the runtime is closed.
  func poll(_ take: (vsw_event, [Int32]) -> Void) -> Bool {
    var events = [vsw_event](repeating: vsw_event(), count: 16)
    var tokens = [Int32](repeating: 0, count: 64)
    var logprobs = [vsw_logprob](repeating: vsw_logprob(), count: 256)
    var error = vsw_error()
    let status = events.withUnsafeMutableBufferPointer { events in
      tokens.withUnsafeMutableBufferPointer { tokens in
        logprobs.withUnsafeMutableBufferPointer { logprobs in
          var buffers = vsw_poll_buffers()
          buffers.struct_size = UInt32(MemoryLayout<vsw_poll_buffers>.size)
          (buffers.events, buffers.event_capacity) = (events.baseAddress, 16)
          (buffers.tokens, buffers.token_capacity) = (tokens.baseAddress, 64)
          (buffers.logprobs, buffers.logprob_capacity) = (logprobs.baseAddress, 256)
          let status = vsw_poll(runtime, &buffers, -1, &error)
          guard status == 0 else { return status }
          for event in events.prefix(Int(buffers.event_count)) {
            let first = Int(event.token_offset)
            take(event, Array(tokens[first..<first + Int(event.token_count)]))
          }
          return status
        }
      }
    }
    guard status == 0 || status == VSW_ERROR_CLOSED || status == VSW_ERROR_INVALID_HANDLE else {
      fail("a poll ended with \(status)")
    }
    return status == 0
  }

  /// The outputs of a request while nothing else runs.
  func alone(_ ask: Ask) -> [[Int32]] {
    let name = submit(ask)
    var outputs = [[Int32]](repeating: [], count: Int(ask.sampling.n))
    var left = outputs.count
    while left > 0 {
      _ = poll { event, tokens in
        outputs[Int(event.sequence)] += tokens
        if event.finish_reason != 0 { left -= 1 }
      }
    }
    vsw_release(runtime, name)
    return outputs
  }
}
