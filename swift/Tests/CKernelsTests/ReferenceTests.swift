import CKernels
import MLXArray
import Testing

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

@Suite struct ReferenceTests {
  private let stream: MLXStream

  init() throws {
    stream = try MLXStream(gpu: false)
  }

  private func array<Element: BitwiseCopyable>(
    _ values: [Element], _ shape: [Int], _ dtype: MLXArray.DType
  ) throws -> MLXArray {
    try values.withUnsafeBytes { try MLXArray(bytes: $0, shape: shape, dtype: dtype) }
  }

  @Test func tokensAreTakenFromTheStepBeforeWhereTheyNameIt() throws {
    let previous = try array([70, 80, 90] as [Int32], [3], .int32)
    let tokens = try stream.withHandle { stream in
      try previous.withHandle { previous in
        try MLXArray { ck_ref_tokens(stream, [5, -1, -3, 6], 4, previous, $0, $1) }
      }
    }
    #expect(try tokens.elements(of: Int32.self, on: stream) == [5, 70, 90, 6])
  }

  /// Probabilities 0.4, 0.3, 0.2, 0.1 of tokens 2, 0, 3, 1.
  private func sampled(_ change: (inout ck_sampling) -> Void) throws -> Set<Int32> {
    let logits = try array(
      [0.3, 0.1, 0.4, 0.2].map(logf), [1, 4], .float32)
    var kept: Set<Int32> = []
    for uniform in stride(from: Float(0.005), to: 1, by: 0.01) {
      var row = ck_sampling(
        temperature: 1, top_p: 1, min_p: 0, top_k: 0, uniform: uniform, known: -1, logprobs: -1,
        index: 0, sampler: nil, mask: nil, given: nil, given_count: 0)
      change(&row)
      let token = try stream.withHandle { stream in
        try logits.withHandle { logits in
          try MLXArray { ck_ref_sample(stream, logits, &row, 1, $0, $1) }
        }
      }
      kept.formUnion(try token.elements(of: Int32.self, on: stream))
    }
    return kept
  }

  @Test func filtersKeepWhatVLLMKeeps() throws {
    #expect(try sampled { _ in } == [0, 1, 2, 3])
    #expect(try sampled { $0.temperature = 0 } == [2])
    #expect(try sampled { $0.top_k = 2 } == [2, 0])
    #expect(try sampled { $0.top_p = 0.65 } == [2, 0])
    #expect(try sampled { $0.min_p = 0.45 } == [2, 0, 3])
    // Of tokens 2, 0 and 3 the first two have 0.78: top-p is taken of what min-p keeps.
    #expect(
      try sampled {
        $0.min_p = 0.45
        $0.top_p = 0.75
      } == [2, 0])
  }

  @Test func whatItHasNotIsRefused() throws {
    #expect(throws: (any Error).self) { try sampled { $0.logprobs = 0 } }
    #expect(throws: (any Error).self) { try sampled { $0.known = 3 } }
  }
}
