import Testing

@testable import VLLMSwiftCore

/// Plays the engine: completes each step one step late, and samples tokens from a rule.
private struct Player {
  var scheduler: Scheduler
  var outputs: [RequestID: [Int32]] = [:]
  var finishes: [RequestID: FinishReason] = [:]
  var steps: [Scheduler.Step] = []
  private var inFlight: Scheduler.Step?

  init(maxRows: Int = 16, maxSequences: Int = 8, blocks: Int = 64) {
    scheduler = Scheduler(maxRows: maxRows, maxSequences: maxSequences, blocks: blocks)
  }

  /// - Parameter token: the token that a request samples, given how many it has.
  mutating func step(token: (RequestID, Int) -> Int32 = { Int32($0) * 100 + Int32($1) }) -> Bool {
    let next = scheduler.schedule()
    if let next { steps.append(next) }
    let previous = inFlight
    inFlight = next
    guard let previous else { return next != nil }
    var counts: [RequestID: Int] = outputs.mapValues(\.count)
    let tokens = previous.samples.map { sample -> Int32 in
      defer { counts[sample.request, default: 0] += 1 }
      return token(sample.request, counts[sample.request, default: 0])
    }
    for outcome in scheduler.complete(previous, tokens: tokens) {
      if let token = outcome.token { outputs[outcome.request, default: []].append(token) }
      finishes[outcome.request] = outcome.finish
    }
    return true
  }

  mutating func run(token: (RequestID, Int) -> Int32 = { Int32($0) * 100 + Int32($1) }) {
    while step(token: token) {}
  }
}

private func request(
  _ id: RequestID, prompt: Int = 4, maxTokens: Int = 3, stop: Set<Int32> = []
) throws -> Request {
  var sampling = SamplingParams()
  sampling.maxTokens = maxTokens
  sampling.stopTokenIDs = stop
  return try Request(
    id: id, prompt: [Int32](repeating: 1, count: prompt), sampling: sampling,
    limits: RequestLimits(vocabularySize: 50_000, maxModelLength: 1000, cacheTokens: 2048))
}

@Suite struct SchedulerTests {
  @Test(arguments: [1, 2, 16, 17, 400])
  func everyTokenOfAScoredPromptIsScoredOnceAndInOrder(_ length: Int) throws {
    var player = Player(maxRows: 200)
    var sampling = SamplingParams()
    (sampling.promptLogprobs, sampling.logprobs) = (2, 1)
    let prompt = (0..<Int32(length)).map { $0 + 7 }
    player.scheduler.submit(try request(1))
    player.scheduler.submit(
      try Request(
        id: 2, prompt: prompt, sampling: sampling,
        limits: RequestLimits(vocabularySize: 50_000, maxModelLength: 1000, cacheTokens: 2048)))
    player.scheduler.submit(try request(3, prompt: 50))
    player.run()
    let samples = player.steps.flatMap(\.samples).filter { $0.request == 2 }
    #expect(samples.compactMap(\.known) == Array(prompt.dropFirst()))
    #expect(samples.prefix(length - 1).allSatisfy { $0.logprobs == 2 })
    #expect(samples.dropFirst(length - 1).allSatisfy { $0.known == nil && $0.logprobs == 1 })
    #expect(samples.dropFirst(length - 1).map(\.index) == Array(0..<16))
    for step in player.steps {
      #expect(step.samples.count == step.layout.logitRows.count)
      #expect(step.samples.count { $0.known != nil } <= Scheduler.maxScoredRows)
    }
    #expect(player.outputs[2]?.count == 16)
    #expect(player.outputs[3]?.count == 3)
  }

  @Test func everyRequestGetsItsTokensAndEveryBlockComesBack() throws {
    var player = Player()
    for id in 1...5 as ClosedRange<RequestID> {
      player.scheduler.submit(try request(id, prompt: 3 * Int(id), maxTokens: Int(id)))
    }
    player.run()
    for id in 1...5 as ClosedRange<RequestID> {
      #expect(player.outputs[id] == (0..<Int(id)).map { Int32(id) * 100 + Int32($0) })
      #expect(player.finishes[id] == .length)
    }
    #expect(player.scheduler.blocksInUse == 0)
    #expect(player.scheduler.isIdle)
  }

  @Test func aStepHoldsNoMoreRowsThanItsBudget() throws {
    var player = Player(maxRows: 16)
    for id in 1...4 as ClosedRange<RequestID> {
      player.scheduler.submit(try request(id, prompt: 40, maxTokens: 10))
    }
    player.run()
    #expect(player.steps.allSatisfy { $0.layout.tokens.count <= 16 })
    #expect(player.finishes.count == 4)
  }

  @Test func aLongPromptDoesNotStopRunningSequences() throws {
    var player = Player(maxRows: 8)
    player.scheduler.submit(try request(1, prompt: 2, maxTokens: 20))
    _ = player.step()
    player.scheduler.submit(try request(2, prompt: 60, maxTokens: 2))
    for _ in 0..<6 {
      _ = player.step()
      #expect(player.steps.last?.members.contains(1) == true)
    }
  }

  @Test func aRowsPositionsAndBlocksContinueItsSequence() throws {
    var player = Player(maxRows: 16)
    player.scheduler.submit(try request(1, prompt: 50, maxTokens: 30))
    player.run()
    var position = 0
    for step in player.steps {
      let sequence = try #require(step.layout.sequences.first)
      #expect(sequence.position == position)
      position += sequence.rows.count
      #expect(position <= sequence.blocks.count * kvBlockTokens)
    }
    // The last sampled token is never computed: nobody asks for its logits.
    #expect(position == 50 + 30 - 1)
  }

  @Test func aDecodeNamesTheSampleOfTheStepBefore() throws {
    var player = Player()
    player.scheduler.submit(try request(1, maxTokens: 4))
    player.run()
    #expect(player.steps[1].layout.tokens == [.sampled(0)])
  }

  @Test func aStopTokenEndsItsSequenceAndIsNotReported() throws {
    var player = Player()
    player.scheduler.submit(try request(1, maxTokens: 50, stop: [102]))
    player.run()
    #expect(player.outputs[1] == [100, 101])
    #expect(player.finishes[1] == .stop)
    #expect(player.scheduler.blocksInUse == 0)
  }

  @Test func blocksOfACancelledRequestAreFreeOnceNoStepWritesThem() throws {
    var player = Player()
    player.scheduler.submit(try request(1, maxTokens: 50))
    _ = player.step()
    let cancelled = player.scheduler.cancel(1)
    #expect(cancelled)
    #expect(player.scheduler.blocksInUse > 0)
    player.run()
    #expect(player.scheduler.blocksInUse == 0)
    #expect(player.outputs[1] == nil)
    let again = player.scheduler.cancel(1)
    #expect(!again)
  }

  @Test func aRequestWaitsForBlocksAndThenRuns() throws {
    var player = Player(blocks: 3)
    for id in 1...3 as ClosedRange<RequestID> {
      player.scheduler.submit(try request(id, prompt: 30, maxTokens: 20))
    }
    _ = player.step()
    #expect(player.scheduler.waitingCount == 2)
    player.run()
    #expect(player.finishes == [1: .length, 2: .length, 3: .length])
  }

  @Test func aSeededRequestDrawsTheSameWhateverElseRuns() throws {
    func draws(beside others: Int) throws -> [Float] {
      var sampling = SamplingParams()
      sampling.maxTokens = 5
      sampling.seed = 42
      let limits = RequestLimits(vocabularySize: 10, maxModelLength: 100, cacheTokens: 2048)
      var player = Player()
      for id in 0..<others {
        player.scheduler.submit(try request(RequestID(10 + id), prompt: 3 + id))
      }
      player.scheduler.submit(
        try Request(id: 1, prompt: [1, 2], sampling: sampling, limits: limits))
      player.run()
      return player.steps.flatMap(\.samples).filter { $0.request == 1 }.map(\.uniform)
    }
    #expect(try draws(beside: 0) == draws(beside: 5))
  }
}

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
