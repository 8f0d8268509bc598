import CKernels
import MLXArray
import VLLMSwiftCore

/// What sequences have sampled so far, for those whose parameters look back at it or change their
/// logits. Each is made when its sequence first samples. The others have none, and cost nothing.
public final class Samplers {
  private let vocabularySize: Int
  private var entries: [RequestID: (request: Request, ofOutput: [Int: Sampler])] = [:]

  public init(vocabularySize: Int) {
    self.vocabularySize = vocabularySize
  }

  public func add(_ request: Request) {
    if request.sampling.needsSampler { entries[request.id] = (request, [:]) }
  }

  /// Steps in flight keep what they use.
  public func remove(_ request: RequestID) {
    entries[request] = nil
  }

  public func removeAll() {
    entries = [:]
  }

  /// What the sampling ops need for a step.
  /// - Parameter masks: of some of the samples, by their index.
  public func rows(_ samples: [Scheduler.Sample], masks: [Int: [UInt32]]) throws -> SampledRows {
    SampledRows(
      try samples.enumerated().map { index, sample in
        SampledRows.Row(
          sample: sample, sampler: try sampler(of: sample), mask: masks[index])
      })
  }

  private func sampler(of sample: Scheduler.Sample) throws -> Sampler? {
    guard sample.sampling.needsSampler, sample.known == nil else { return nil }
    let (request, output) = (sample.sequence.request, sample.sequence.index)
    guard let entry = entries[request] else {
      throw EngineError(.internal, "request \(request) samples, and was not added")
    }
    if let sampler = entry.ofOutput[output] { return sampler }
    let sampler = try Sampler(entry.request, vocabularySize: vocabularySize)
    entries[request]?.ofOutput[output] = sampler
    return sampler
  }
}

/// One sequence's state in the sampling op, which adds each token as it is drawn.
final class Sampler {
  private var handle: OpaquePointer?

  init(_ request: Request, vocabularySize: Int) throws {
    let sampling = request.sampling
    let ends = Array(sampling.stopTokenIDs.union(sampling.eosTokenIDs))
    let biases = sampling.logitBias.sorted { $0.key < $1.key }
    let badWords = Array(sampling.badWords.joined())
    try request.prompt.withUnsafeBufferPointer { prompt in
      try ends.withUnsafeBufferPointer { ends in
        try sampling.allowedTokenIDs.withUnsafeBufferPointer { allowed in
          try biases.map(\.key).withUnsafeBufferPointer { biased in
            try biases.map(\.value).withUnsafeBufferPointer { values in
              try badWords.withUnsafeBufferPointer { badWords in
                try sampling.badWords.map { Int32($0.count) }.withUnsafeBufferPointer { lengths in
                  var params = ck_sampler_params(
                    vocabulary: Int32(clamping: vocabularySize), prompt_count: Int32(prompt.count),
                    prompt: prompt.baseAddress, repetition_penalty: sampling.repetitionPenalty,
                    frequency_penalty: sampling.frequencyPenalty,
                    presence_penalty: sampling.presencePenalty,
                    min_tokens: Int32(clamping: sampling.minTokens), end_count: Int32(ends.count),
                    allowed_count: Int32(allowed.count), bias_count: Int32(biased.count),
                    bad_word_count: Int32(lengths.count), end_ids: ends.baseAddress,
                    allowed_ids: allowed.baseAddress, bias_ids: biased.baseAddress,
                    bias_values: values.baseAddress, bad_words: badWords.baseAddress,
                    bad_word_lengths: lengths.baseAddress)
                  try checkMLX { ck_sampler_create(&params, &handle, $0) }
                }
              }
            }
          }
        }
      }
    }
  }

  deinit { ck_sampler_free(handle) }

  func withHandle<Result>(_ body: (OpaquePointer?) throws -> Result) rethrows -> Result {
    try withExtendedLifetime(self) { try body(handle) }
  }
}
