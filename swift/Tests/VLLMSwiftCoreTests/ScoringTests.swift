import Testing

@testable import VLLMSwiftCore

/// Prompt logprobs: which rows want them, whatever is shared, forked or preempted.
@Suite struct ScoringTests {
  private func scored(
    _ id: RequestID, prompt: [Int32], n: Int = 1, maxTokens: Int = 16
  ) throws -> Request {
    var sampling = SamplingParams()
    (sampling.promptLogprobs, sampling.logprobs, sampling.maxTokens) = (2, 1, maxTokens)
    return try Request(
      id: id, prompt: prompt, sampling: sampling, n: n,
      limits: RequestLimits(
        vocabularySize: 50, maxModelLength: 100_000, cacheTokens: 100_000))
  }

  private func prompt(_ length: Int) -> [Int32] { (0..<length).map { Int32($0 * $0 % 50) } }

  /// Each token of a scored prompt is known to the step once and in order; then its outputs draw.
  private func check(_ player: Player, _ requests: [Request]) throws {
    for request in requests {
      let samples = player.steps.flatMap(\.samples).filter { $0.sequence.request == request.id }
      let known = samples.filter { $0.known != nil }
      #expect(known.compactMap(\.known) == Array(request.prompt.dropFirst()))
      #expect(known.allSatisfy { $0.logprobs == 2 && $0.sequence.index == 0 })
      for index in 0..<request.n {
        let drawn = samples.filter { $0.known == nil && $0.sequence.index == index }
        #expect(drawn.map(\.index) == Array(0..<request.sampling.maxTokens))
        #expect(drawn.allSatisfy { $0.logprobs == 1 })
        let alone = FakeModel.alone(request, index: index)
        #expect(player.outputs[SequenceID(request: request.id, index: index)] == alone.tokens)
      }
    }
    for step in player.steps {
      #expect(step.samples.count == step.layout.logitRows.count)
      #expect(step.samples.count { $0.known != nil } <= Scheduler.maxScoredRows)
    }
  }

  @Test(arguments: [1, 2, 16, 17, 32, 33, 400])
  func everyTokenOfAScoredPromptIsScoredOnceAndInOrder(_ length: Int) throws {
    var player = Player(maxRows: 200)
    let requests = [try scored(2, prompt: prompt(length))]
    try player.run([try request(1)] + requests + [try request(3, prompt: 50)])
    try check(player, requests)
    #expect(player.outputs[SequenceID(request: 3)]?.count == 3)
  }

  @Test func aPrefixThatOthersComputedIsScoredAllTheSame() throws {
    var player = Player(maxRows: 200)
    let requests = try (1...3 as ClosedRange<RequestID>).map {
      try scored($0, prompt: prompt(150))
    }
    try player.run([try request(9, prompt: prompt(150))])
    try player.run(requests)
    try check(player, requests)
    // Those who do not ask share what was computed for those who do.
    try player.run([try request(10, prompt: prompt(150))])
    #expect(player.starts[10] == 128)
  }

  @Test func oneOutputScoresForAll() throws {
    var player = Player()
    let requests = [try scored(1, prompt: prompt(70), n: 3)]
    try player.run(requests)
    try check(player, requests)
  }

  @Test(arguments: 0..<10)
  func aPreemptedPromptGoesOnWhereItsScoresEnded(_ seed: Int) throws {
    var player = Player(maxRows: 40 + seed, maxSequences: 6, blocks: 12)
    let requests = try (1...6 as ClosedRange<RequestID>).map {
      try scored($0, prompt: prompt(40 + 17 * Int($0) + seed), maxTokens: 60)
    }
    try player.run(requests)
    try check(player, requests)
    #expect(player.scheduler.counts.preemptions > 0)
  }
}
