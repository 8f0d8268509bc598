import Testing

@testable import VLLMSwiftCore

@Suite struct RequestTests {
  private let limits = RequestLimits(vocabularySize: 10, maxModelLength: 8, cacheTokens: 64)

  private func code(
    _ prompt: [Int32], _ change: (inout SamplingParams) -> Void = { _ in },
    limits: RequestLimits? = nil
  ) -> EngineError.Code? {
    var sampling = SamplingParams()
    change(&sampling)
    do {
      _ = try Request(id: 1, prompt: prompt, sampling: sampling, limits: limits ?? self.limits)
      return nil
    } catch {
      return (error as? EngineError)?.code
    }
  }

  @Test func whatCouldNeverRunIsRefused() {
    #expect(code([]) == .emptyPrompt)
    #expect(code([10]) == .invalidToken)
    #expect(code([-1]) == .invalidToken)
    #expect(code([Int32](repeating: 1, count: 8)) == .promptTooLong)
    #expect(code([1]) { $0.maxTokens = 0 } == .invalidArgument)
    #expect(code([1]) { $0.temperature = -1 } == .invalidArgument)
    #expect(code([1]) { $0.temperature = .nan } == .invalidArgument)
    #expect(code([1]) { $0.topP = 0 } == .invalidArgument)
    #expect(code([1]) { $0.minP = 1.5 } == .invalidArgument)
    #expect(code([1]) { $0.topK = -2 } == .invalidArgument)
    #expect(code([1]) { $0.stopTokenIDs = [99] } == .invalidToken)
    let small = RequestLimits(vocabularySize: 10, maxModelLength: 1000, cacheTokens: 32)
    #expect(code([1, 2], { $0.maxTokens = 40 }, limits: small) == .requestTooLarge)
    #expect(code([1]) == nil)
  }

  @Test func theContextBoundsTheOutput() throws {
    let request = try Request(id: 1, prompt: [1, 2, 3], sampling: SamplingParams(), limits: limits)
    #expect(request.sampling.maxTokens == 5)
  }
}
