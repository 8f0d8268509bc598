import CKernels
import MLXArray
import VLLMSwiftCore

/// The rows of logits of a step, and what is to be made of each.
public struct SampledRows {
  struct Row {
    let sample: Scheduler.Sample
    let sampler: Sampler?
    /// A bit for each token that may be drawn; nil: all may be.
    let mask: [UInt32]?
  }

  private let rows: [Row]

  init(_ rows: [Row]) {
    self.rows = rows
  }

  var isEmpty: Bool { rows.isEmpty }

  /// In the form of the sampling ops, for the length of `body`.
  func withParameters<Result>(_ body: ([ck_sampling]) throws -> Result) rethrows -> Result {
    let masks = rows.flatMap { $0.mask ?? [] }
    let given = rows.flatMap(\.sample.given)
    return try masks.withUnsafeBufferPointer { masks in
      try given.withUnsafeBufferPointer { given in
        try withExtendedLifetime(rows) { try body(parameters(masks, given)) }
      }
    }
  }
}

extension SampledRows {
  /// - Parameters:
  ///   - masks: of those rows that have one, end to end.
  ///   - given: the rows' given tokens, end to end.
  private func parameters(
    _ masks: UnsafeBufferPointer<UInt32>, _ given: UnsafeBufferPointer<Int32>
  ) -> [ck_sampling] {
    var (words, tokens) = (0, 0)
    return rows.map { row in
      defer { (words, tokens) = (words + (row.mask?.count ?? 0), tokens + row.sample.given.count) }
      let (sample, sampling) = (row.sample, row.sample.sampling)
      return ck_sampling(
        temperature: sampling.temperature, top_p: sampling.topP, min_p: sampling.minP,
        top_k: Int32(clamping: sampling.topK), uniform: sample.uniform,
        known: sample.known ?? -1, logprobs: Int32(sample.logprobs ?? -1),
        index: Int32(clamping: sample.index), sampler: row.sampler?.withHandle { $0 },
        mask: row.mask == nil ? nil : masks.baseAddress.map { $0 + words },
        given: given.baseAddress.map { $0 + tokens }, given_count: Int32(sample.given.count))
    }
  }
}

/// What a step leaves, being computed.
public struct StepResult {
  /// int32 [rows]; of a step without rows of logits, something to wait for.
  public let tokens: MLXArray
  private let logprobs: MLXArray?

  init(tokens: MLXArray, logprobs: MLXArray? = nil) {
    (self.tokens, self.logprobs) = (tokens, logprobs)
  }

  /// The op's result for `rows` of float32 `logits`, on a stream of the CPU.
  init(_ rows: SampledRows, of logits: MLXArray, on stream: MLXStream) throws {
    var logprobs: cmlx_array?
    tokens = try rows.withParameters { rows in
      try stream.withHandle { stream in
        try logits.withHandle { logits in
          try MLXArray { tokens, error in
            ck_sample(stream, logits, rows, Int32(rows.count), tokens, &logprobs, error)
          }
        }
      }
    }
    self.logprobs = try logprobs.map { given in
      try MLXArray { result, _ in
        result.pointee = given
        return 0
      }
    }
  }

  var arrays: [MLXArray] { [tokens] + (logprobs.map { [$0] } ?? []) }

  /// Why a row has no token, where `token` stands in its place.
  public static func fault(of token: Int32) -> EngineError? {
    guard token < 0 else { return nil }
    let what =
      switch token {
      case Int32(CK_LOGITS_NAN): "hold NaN"
      case Int32(CK_LOGITS_INFINITE): "hold infinity"
      default: "leave no token to draw"
      }
    return EngineError(
      .backend, "the model's logits for this request \(what); other requests are not affected")
  }

  /// Whether `token` stands for none, since all were masked.
  public static func leavesNothing(_ token: Int32) -> Bool { token == Int32(CK_LOGITS_MASKED) }

  /// Waits. The logprobs of each of the step's samples, in the order of `ck_sample`.
  public func logprobs(of samples: [Scheduler.Sample], on stream: MLXStream) throws
    -> [ArraySlice<TokenLogprob>]
  {
    let all = try logprobs?.elements(of: TokenLogprob.self, on: stream) ?? []
    var first = 0
    return samples.map { sample in
      defer { first += sample.logprobs.map { $0 + 1 } ?? 0 }
      return all[first..<first + (sample.logprobs.map { $0 + 1 } ?? 0)]
    }
  }
}
