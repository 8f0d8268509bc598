import Testing

@testable import VLLMSwiftCore

@Suite struct SharingTests {
  private func prompt(_ count: Int, seed: Int = 1) -> [Int32] {
    (0..<count).map { Int32(($0 * $0 * seed + $0 / 50 + seed) % 50) }
  }

  @Test func aPromptThatCameBeforeIsNotComputedAgain() throws {
    var player = Player(maxRows: 64)
    try player.run([request(1, prompt: prompt(100), maxTokens: 2)])
    try player.run([request(2, prompt: prompt(100), maxTokens: 2)])
    #expect(player.starts[1] == 0)
    #expect(player.starts[2] == 96)
    #expect(player.promptRows == 104)
    #expect(player.scheduler.counts.prefixQueries == 200)
    #expect(player.scheduler.counts.prefixHits == 96)
  }

  @Test func theLastTokenOfAPromptIsAlwaysComputed() throws {
    var player = Player(maxRows: 64)
    try player.run([request(1, prompt: prompt(64))])
    try player.run([request(2, prompt: prompt(64))])
    #expect(player.starts[2] == 32)
  }

  @Test func theSecondTurnFindsTheFirstOnesAnswer() throws {
    var player = Player(maxRows: 64)
    try player.run([request(1, prompt: prompt(40), maxTokens: 60)])
    let answer = try #require(player.outputs[SequenceID(request: 1)])
    try player.run([request(2, prompt: prompt(40) + answer + [1, 2, 3])])
    #expect(player.starts[2] == 96)
  }

  @Test(arguments: [64, 256])
  func manyRequestsOverOneContextArePrefilledOnce(rows: Int) throws {
    var player = Player(maxRows: rows, maxSequences: 16, blocks: 200)
    let requests = try (0..<16).map {
      try request(RequestID($0), prompt: prompt(2048) + [Int32($0), 7, 9], maxTokens: 5)
    }
    try player.run(requests)
    #expect(player.promptRows == 2048 + 16 * 3)
    for request in requests {
      #expect(
        player.outputs[SequenceID(request: request.id)]
          == FakeModel.alone(request, index: 0).tokens)
    }
  }

  @Test func whoWaitsForAnothersPromptDoesNotHoldUpTheRest() throws {
    var player = Player(maxRows: 64, blocks: 200)
    player.scheduler.submit(try request(1, prompt: prompt(640), maxTokens: 1))
    player.scheduler.submit(try request(2, prompt: prompt(640), maxTokens: 1))
    player.scheduler.submit(try request(3, prompt: prompt(30, seed: 3), maxTokens: 1))
    try player.run()
    let order = player.steps.flatMap(\.starts).map(\.request)
    #expect(order == [1, 3, 2])
    #expect(player.promptRows == 640 + 30 + 32)
  }

  @Test func aPromptWhoseLeaderIsCancelledRunsOnItsOwn() throws {
    var player = Player(maxRows: 64, blocks: 200)
    player.scheduler.submit(try request(1, prompt: prompt(640), maxTokens: 1))
    player.scheduler.submit(try request(2, prompt: prompt(640), maxTokens: 1))
    for _ in 0..<3 { _ = try player.step() }
    #expect(player.scheduler.cancel(1))
    try player.run()
    #expect(player.finishes[SequenceID(request: 2)] == .length)
    #expect(player.starts[2] == 192)
  }

  @Test func promptsOfDifferentSaltsShareNothing() throws {
    var player = Player(maxRows: 64)
    try player.run([request(1, prompt: prompt(100), salt: [1])])
    try player.run([request(2, prompt: prompt(100), salt: [2]), request(3, prompt: prompt(100))])
    #expect(player.scheduler.counts.prefixHits == 0)
  }

  @Test(arguments: [1, 20, 32, 33, 64, 70])
  func outputsOfOneRequestShareItsPrompt(length: Int) throws {
    var player = Player(maxRows: 64)
    let request = try request(1, prompt: prompt(length), maxTokens: 40, n: 4)
    try player.run([request])
    for index in 0..<4 {
      let id = SequenceID(request: 1, index: index)
      #expect(player.outputs[id] == FakeModel.alone(request, index: index).tokens)
    }
    // The last row of a prompt is computed for each, since each draws from it.
    #expect(player.promptRows == length + 3)
    #expect(player.steps.flatMap(\.layout.copies).count == 3)
    #expect(player.scheduler.counts.blocksUsed == 0)
  }

  @Test func aFailureForgetsWhatTheBlocksHold() throws {
    var player = Player(maxRows: 64)
    try player.run([request(1, prompt: prompt(100))])
    player.scheduler.submit(try request(2, prompt: prompt(100)))
    _ = player.scheduler.schedule()
    #expect(player.scheduler.cancelAll() == [2])
    #expect(player.scheduler.isIdle)
    #expect(player.scheduler.counts.blocksUsed == 0)
    try player.run([request(3, prompt: prompt(100))])
    #expect(player.starts[3] == 0)
  }
}
