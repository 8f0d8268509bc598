import Testing
import VLLMSwiftCore

@Suite struct SamplingParamsTests {
  private func refusal(
    onlyPlainDraws: Bool = false, _ change: (inout SamplingParams) -> Void
  ) -> EngineError? {
    var sampling = SamplingParams()
    change(&sampling)
    do {
      _ = try Request(
        id: 1, prompt: [1], sampling: sampling,
        limits: RequestLimits(
          vocabularySize: 15, maxModelLength: 1000, cacheTokens: 1000,
          onlyPlainDraws: onlyPlainDraws))
      return nil
    } catch {
      return error as? EngineError
    }
  }

  private static let beyondPlainDraws: [(String, @Sendable (inout SamplingParams) -> Void)] = [
    ("min_tokens", { $0.minTokens = 1 }), ("presence_penalty", { $0.presencePenalty = 1 }),
    ("frequency_penalty", { $0.frequencyPenalty = -1 }),
    ("repetition_penalty", { $0.repetitionPenalty = 2 }), ("logit_bias", { $0.logitBias = [1: 2] }),
    ("allowed_token_ids", { $0.allowedTokenIDs = [3] }), ("bad_words", { $0.badWords = [[1, 2]] }),
    ("logprobs", { $0.logprobs = 0 }), ("prompt_logprobs", { $0.promptLogprobs = 0 }),
  ]

  @Test func aDeviceThatOnlyDrawsRefusesTheRestByName() {
    for (name, change) in Self.beyondPlainDraws {
      let refused = refusal(onlyPlainDraws: true, change)
      #expect(refused?.code == .unsupported)
      #expect(refused?.message.hasPrefix("\(name) ") == true)
      #expect(refusal(change) == nil)
    }
    #expect(
      refusal(onlyPlainDraws: true) {
        ($0.ignoreEOS, $0.seed, $0.topK, $0.stopTokenIDs) = (true, 3, 5, [2])
      } == nil)
  }

  @Test func whatIsOutOfRangeIsNamed() {
    let bad: [(String, (inout SamplingParams) -> Void)] = [
      ("min_tokens", { $0.minTokens = 17 }), ("presence_penalty", { $0.presencePenalty = 2.1 }),
      ("frequency_penalty", { $0.frequencyPenalty = .nan }),
      ("repetition_penalty", { $0.repetitionPenalty = 0 }), ("logprobs", { $0.logprobs = 21 }),
      ("logprobs", { $0.logprobs = 16 }), ("prompt_logprobs", { $0.promptLogprobs = -2 }),
      ("logit_bias", { $0.logitBias = [1: .infinity] }), ("bad_words", { $0.badWords = [[]] }),
    ]
    for (name, change) in bad {
      let refused = refusal(change)
      #expect(refused?.code == .invalidArgument)
      #expect(refused?.message.hasPrefix(name) == true)
    }
  }

  @Test func tokensOutsideTheVocabularyAreNamed() {
    let bad: [(String, (inout SamplingParams) -> Void)] = [
      ("stop_token_ids", { $0.stopTokenIDs = [15] }), ("eos_token_ids", { $0.eosTokenIDs = [-1] }),
      ("logit_bias", { $0.logitBias = [15: 1] }),
      ("allowed_token_ids", { $0.allowedTokenIDs = [1, 99] }),
      ("bad_words", { $0.badWords = [[1], [2, 15]] }),
    ]
    for (name, change) in bad {
      let refused = refusal(change)
      #expect(refused?.code == .invalidToken)
      #expect(refused?.message.contains(name) == true)
    }
  }

  @Test func aRequestWithNothingLeftToSampleIsRefused() {
    for change: (inout SamplingParams) -> Void in [
      { ($0.badWords, $0.allowedTokenIDs) = ([[1, 2], [3]], [2, 3]) },
      { ($0.minTokens, $0.eosTokenIDs, $0.allowedTokenIDs) = (1, [4], [4]) },
    ] {
      #expect(refusal(change)?.code == .invalidArgument)
    }
    #expect(refusal { ($0.eosTokenIDs, $0.allowedTokenIDs) = ([4], [4]) } == nil)
  }
}
