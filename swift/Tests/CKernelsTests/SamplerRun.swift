import CKernels
import MLXArray

/// A sequence's sampling parameters, as the ops take them and as vLLM's documentation has them.
struct SamplerRun {
  var vocabulary = 0
  var prompt: [Int32] = []
  var repetition: Float = 1
  var frequency: Float = 0
  var presence: Float = 0
  var minTokens = 0
  var ends: [Int32] = []
  var allowed: [Int32] = []
  var biases: [(token: Int32, value: Float)] = []
  var badWords: [[Int32]] = []

  /// Everything at random, often off.
  static func random(vocabulary: Int, _ numbers: inout Numbers) -> SamplerRun {
    var run = SamplerRun(vocabulary: vocabulary)
    func tokens(_ count: Int) -> [Int32] {
      (0..<count).map { _ in Int32.random(in: 0..<Int32(vocabulary), using: &numbers) }
    }
    run.prompt = tokens(Int.random(in: 1...20, using: &numbers))
    if Bool.random(using: &numbers) { run.repetition = .random(in: 0.5...2, using: &numbers) }
    if Bool.random(using: &numbers) { run.frequency = .random(in: -2...2, using: &numbers) }
    if Bool.random(using: &numbers) { run.presence = .random(in: -2...2, using: &numbers) }
    if Bool.random(using: &numbers) {
      run.minTokens = Int.random(in: 1...20, using: &numbers)
      run.ends = tokens(2)
    }
    if Bool.random(using: &numbers) {
      run.biases = Set(tokens(3)).map { ($0, Float.random(in: -5...5, using: &numbers)) }
    }
    if Int.random(in: 0..<4, using: &numbers) == 0 { run.allowed = tokens(12) }
    if Bool.random(using: &numbers) {
      // Single tokens of a small alphabet are banned soon, pairs of it come up now and then.
      run.badWords = (0..<vocabulary * 2).map { _ in tokens(2) } + [tokens(1), tokens(3)]
    }
    return run
  }

  /// Step by step, in the order of vLLM's V1 sampler.
  func adjusted(_ logits: [Float], output: [Int32]) -> [Float] {
    var x = logits
    if !allowed.isEmpty {
      for token in x.indices where !allowed.contains(Int32(token)) { x[token] = -.infinity }
    }
    for word in badWords where output.suffix(word.count - 1) == word.dropLast() {
      if output.count >= word.count - 1 { x[Int(word[word.count - 1])] = -.infinity }
    }
    if output.count < minTokens {
      for token in ends { x[Int(token)] = -.infinity }
    }
    for (token, value) in biases { x[Int(token)] += value }
    for token in Set(prompt + output) {
      let logit = x[Int(token)]
      x[Int(token)] = logit > 0 ? logit / repetition : logit * repetition
    }
    for token in Set(output) {
      x[Int(token)] -= frequency * Float(output.count { $0 == token })
      x[Int(token)] -= presence
    }
    return x
  }

  /// The op's own state for this sequence.
  func sampler() throws -> SamplerHandle {
    let handle = SamplerHandle()
    let (lengths, words) = (badWords.map { Int32($0.count) }, Array(badWords.joined()))
    let (biased, values) = (biases.map(\.token), biases.map(\.value))
    try prompt.withUnsafeBufferPointer { prompt in
      try ends.withUnsafeBufferPointer { ends in
        try allowed.withUnsafeBufferPointer { allowed in
          try biased.withUnsafeBufferPointer { biased in
            try values.withUnsafeBufferPointer { values in
              try words.withUnsafeBufferPointer { words in
                try lengths.withUnsafeBufferPointer { lengths in
                  var params = ck_sampler_params(
                    vocabulary: Int32(vocabulary), prompt_count: Int32(prompt.count),
                    prompt: prompt.baseAddress, repetition_penalty: repetition,
                    frequency_penalty: frequency, presence_penalty: presence,
                    min_tokens: Int32(minTokens), end_count: Int32(ends.count),
                    allowed_count: Int32(allowed.count), bias_count: Int32(biased.count),
                    bad_word_count: Int32(lengths.count), end_ids: ends.baseAddress,
                    allowed_ids: allowed.baseAddress, bias_ids: biased.baseAddress,
                    bias_values: values.baseAddress, bad_words: words.baseAddress,
                    bad_word_lengths: lengths.baseAddress)
                  try checkMLX { ck_sampler_create(&params, &handle.pointer, $0) }
                }
              }
            }
          }
        }
      }
    }
    return handle
  }
}

/// Frees itself.
final class SamplerHandle {
  var pointer: OpaquePointer?

  deinit { ck_sampler_free(pointer) }
}
