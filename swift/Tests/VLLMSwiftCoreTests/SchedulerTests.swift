import Testing

@testable import VLLMSwiftCore

@Suite struct SchedulerTests {
  @Test func everyRequestGetsItsTokensAndEveryBlockComesBack() throws {
    var player = Player()
    let requests = try (1...5 as ClosedRange<RequestID>).map {
      try request($0, prompt: 30 * Int($0), maxTokens: Int($0))
    }
    try player.run(requests)
    for request in requests {
      let id = SequenceID(request: request.id)
      #expect(player.outputs[id] == FakeModel.alone(request, index: 0).tokens)
      #expect(player.finishes[id] == .length)
    }
    #expect(player.scheduler.counts.blocksUsed == 0)
    #expect(player.scheduler.isIdle)
  }

  @Test func aStepHoldsNoMoreRowsThanItsBudget() throws {
    var player = Player(maxRows: 16)
    try player.run((1...4).map { try request($0, prompt: 40, maxTokens: 10) })
    #expect(player.steps.allSatisfy { $0.layout.tokens.count <= 16 })
    #expect(player.finishes.count == 4)
  }

  @Test func aRowsPositionsAndBlocksContinueItsSequence() throws {
    var player = Player(maxRows: 16)
    try player.run([request(1, prompt: 50, maxTokens: 30)])
    var position = 0
    for step in player.steps {
      let sequence = try #require(step.layout.sequences.first)
      #expect(sequence.position == position)
      position += sequence.rows.count
      #expect(sequence.blocks.count == BlockPool.blocks(for: position))
    }
    // The last sampled token is never computed: nobody asks for its logits.
    #expect(position == 50 + 30 - 1)
  }

  @Test func aDecodeNamesTheSampleOfTheStepBefore() throws {
    var player = Player()
    try player.run([request(1, maxTokens: 4)])
    #expect(player.steps[1].layout.tokens == [.sampled(0)])
  }

  @Test func aStopTokenEndsItsSequenceAndIsNotReported() throws {
    let plain = try request(1, maxTokens: 50)
    let stop = FakeModel.alone(plain, index: 0).tokens[2]
    var player = Player()
    let stopping = try request(
      1, prompt: plain.prompt, maxTokens: 50, stop: [stop], seed: plain.seed)
    try player.run([stopping])
    let id = SequenceID(request: 1)
    #expect(player.outputs[id] ?? [] == FakeModel.alone(stopping, index: 0).tokens)
    #expect(player.finishes[id] == .stop)
    #expect(player.scheduler.counts.blocksUsed == 0)
  }

  @Test func aCancelledRequestGivesItsBlocksBack() throws {
    var player = Player()
    player.scheduler.submit(try request(1, maxTokens: 50))
    _ = try player.step()
    let used = player.scheduler.counts.blocksUsed
    #expect(used > 0)
    #expect(player.scheduler.cancel(1))
    #expect(player.scheduler.counts.blocksUsed == 0)
    try player.run()
    #expect(player.outputs.isEmpty)
    #expect(!player.scheduler.cancel(1))
  }

  @Test func aRequestWaitsForBlocksAndThenRuns() throws {
    var player = Player(blocks: 3)
    for id in 1...3 as ClosedRange<RequestID> {
      player.scheduler.submit(try request(id, prompt: 40, maxTokens: 20))
    }
    _ = try player.step()
    #expect(player.scheduler.counts.waiting == 2)
    try player.run()
    #expect(player.finishes.values.filter { $0 == .length }.count == 3)
  }

  @Test func betterPrioritiesRunFirstAndEqualOnesInTheOrderOfArrival() throws {
    var player = Player(maxSequences: 1)
    let priorities = [0, 5, -1, 0, -1]
    try player.run(
      priorities.enumerated().map { try request(RequestID($0), priority: $1) })
    let order = player.steps.flatMap(\.starts).map(\.request)
    #expect(order == [2, 4, 0, 3, 1])
  }

  @Test func theWorstAndLatestGivesUpItsBlocksAndLosesNoToken() throws {
    var player = Player(maxRows: 64, blocks: 8)
    let requests = [
      try request(1, prompt: 60, maxTokens: 100, priority: 1),
      try request(2, prompt: 60, maxTokens: 100),
      try request(3, prompt: 60, maxTokens: 100),
    ]
    try player.run(requests)
    #expect(player.scheduler.counts.preemptions > 0)
    // The request of the worst priority came first, and ends last.
    let last = try #require(player.steps.last?.samples.first)
    #expect(last.sequence.request == 1)
    for request in requests {
      #expect(
        player.outputs[SequenceID(request: request.id)]
          == FakeModel.alone(request, index: 0).tokens)
    }
  }
}

@Suite struct PromptBudgetTests {
  private let cost = StepCost(fixed: 4, contextPerRow: 2000, contextPerSequence: 540)

  @Test func theRowsThatABudgetBuysCostNoMoreThanIt() {
    for position in [0, 1, 500, 4000, 100_000] {
      for budget in [0.5, 1, 7, 36, 1000] as [Double] {
        let rows = cost.rows(within: budget, at: position)
        #expect(cost.rows(rows, at: position) <= budget + 1e-6)
        #expect(cost.rows(rows + 1, at: position) > budget - 1e-6)
      }
    }
  }

  /// Four streams, and a prompt of 4,096 tokens beside them.
  @Test(arguments: [1, 24, 30, 31])
  func aLongPromptNeitherStopsStreamsNorStandsStill(_ layers: Int) throws {
    var cost = cost
    cost.layers = layers
    var player = Player(maxRows: 256, blocks: 400, cost: cost)
    for id in 1...4 as ClosedRange<RequestID> {
      player.scheduler.submit(try request(id, prompt: 20, maxTokens: 2000))
    }
    for _ in 0..<20 { _ = try player.step() }
    player.scheduler.submit(try request(9, prompt: 4096, maxTokens: 1))
    let first = player.steps.count
    while !player.steps.last!.samples.contains(where: { $0.sequence.request == 9 }) {
      _ = try player.step()
    }
    let mixed = player.steps[first...]
    func price(
      _ sequences: some Collection<BatchLayout.Sequence>, part: BatchLayout.Part? = nil
    ) -> Double {
      sequences.reduce(cost.fixed) {
        let share = $1.rows == part?.rows ? Double(part!.layers.count) / Double(layers) : 1
        return $0 + cost.rows($1.rows.count, at: $1.position) * share
      }
    }
    var total = 0.0
    for layout in mixed.map(\.layout) {
      let streams = layout.sequences.prefix(4)
      #expect(streams.allSatisfy { $0.rows.count == 1 })
      // Of the clock that is less: three to three and a half times (docs/cpu.md).
      #expect(price(layout.sequences, part: layout.part) <= 4 * price(streams))
      total += price(layout.sequences, part: layout.part)
    }
    var alone = Player(maxRows: 256, blocks: 400, cost: cost)
    try alone.run([request(9, prompt: 4096, maxTokens: 1)])
    #expect(total <= 1.7 * alone.steps.reduce(0) { $0 + price($1.layout.sequences) })
  }

  /// One stream of a model whose 30 layers prompts may pass through in steps of their own.
  private func decoding(maxRows: Int = 256, givesTokens: Bool = false) throws -> Player {
    var cost = cost
    cost.layers = 30
    var player = Player(maxRows: maxRows, blocks: 200, cost: cost)
    player.givesTokens = givesTokens
    player.scheduler.submit(try request(1, prompt: 20, maxTokens: 3000))
    for _ in 0..<20 { _ = try player.step() }
    return player
  }

  /// Few rows through all layers cost more each than many through some.
  @Test func besideStreamsALongPromptPassesThroughTheLayersInWideChunks() throws {
    var player = try decoding()
    player.scheduler.submit(try request(2, prompt: 2000, maxTokens: 1))
    let first = player.steps.count
    try player.run(until: 2)
    let parts = player.steps[first...].compactMap(\.layout.part)
    #expect(parts.count > 30)
    var layer = 0
    for part in parts {
      #expect(part.layers.lowerBound == layer)
      layer = part.layers.upperBound % 30
    }
    #expect(parts.dropLast(10).allSatisfy { $0.rows.count >= 64 })
  }

  @Test func aShortPromptOvertakesALongOneInTheMiddleOfItsLayers() throws {
    var player = try decoding()
    player.scheduler.submit(try request(2, prompt: 2000, maxTokens: 1))
    for _ in 0..<3 { _ = try player.step() }
    player.scheduler.submit(try request(3, prompt: 10, maxTokens: 1))
    let first = player.steps.count
    try player.run(until: 3)
    #expect(player.steps.count - first <= 3)
    #expect(player.steps[first...].allSatisfy { $0.layout.part != nil })
    try player.run(until: 2)
    #expect(player.outputs[SequenceID(request: 1)]?.isEmpty == false)
  }

  /// Runs of given tokens take rows that a chunk on its way counted on.
  @Test func aPromptOnItsWayGoesOnBesideRunsOfRows() throws {
    var player = try decoding(maxRows: 128, givesTokens: true)
    player.scheduler.submit(try request(2, prompt: 2000, maxTokens: 1))
    let first = player.steps.count
    try player.run(until: 2)
    #expect(player.steps[first...].contains { $0.samples.contains { $0.given.count > 1 } })
    let parts = player.steps[first...].compactMap(\.layout.part)
    let begun = parts.count { $0.layers.lowerBound == 0 }
    #expect(begun == parts.count { $0.layers.upperBound == 30 })
    #expect(parts.count > 100)
  }

  @Test func aMoreUrgentPromptTakesThePlaceOfOneOnItsWay() throws {
    var player = try decoding()
    player.scheduler.submit(try request(2, prompt: 2000, maxTokens: 1, priority: 1))
    for _ in 0..<3 { _ = try player.step() }
    player.scheduler.submit(try request(3, prompt: 500, maxTokens: 1))
    try player.run()
    func end(of request: RequestID) -> Int? {
      player.steps.firstIndex { $0.samples.contains { $0.sequence.request == request } }
    }
    #expect(try #require(end(of: 3)) < #require(end(of: 2)))
    let layouts = player.steps.map(\.layout).filter { $0.part?.rows.count ?? 0 > 64 }
    #expect(layouts.allSatisfy { $0.sequences.reduce(0) { $0 + $1.rows.count } <= 256 })
  }

  @Test func withoutStreamsAStepTakesTheWholeBudget() throws {
    var player = Player(maxRows: 64, blocks: 40)
    try player.run([request(1, prompt: 640, maxTokens: 1)])
    #expect(player.steps.map(\.promptTokens) == [Int](repeating: 64, count: 10))
  }

  @Test func aShortPromptOvertakesALongOneWhichGoesOn() throws {
    var player = Player(maxRows: 64, blocks: 80)
    player.scheduler.submit(try request(1, prompt: 1500, maxTokens: 1))
    _ = try player.step()
    player.scheduler.submit(try request(2, prompt: 90, maxTokens: 1))
    try player.run()
    func end(of request: RequestID) -> Int? {
      player.steps.firstIndex { $0.samples.contains { $0.sequence.request == request } }
    }
    let (long, short) = (try #require(end(of: 1)), try #require(end(of: 2)))
    #expect(short <= 3)
    #expect(long > short)
    #expect(player.steps[1].layout.sequences.contains { $0.position == 64 })
  }
}
