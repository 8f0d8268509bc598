import Testing

@testable import VLLMSwiftCore

/// SplitMix64: Steele, Lea and Flood, 2014 (doi:10.1145/2660193.2660195).
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

/// A random schedule: who arrives when, and who is cancelled when.
private struct Scenario {
  var arrivals: [(step: Int, request: Request)] = []
  var cancels: [(step: Int, request: RequestID)] = []
  let maxRows, maxSequences, blocks, layers: Int

  init(seed: UInt64) throws {
    var random = SeededGenerator(state: seed)
    let contexts = (0..<3).map { _ in
      (0..<160).map { _ in Int32.random(in: 0..<FakeModel.vocabulary, using: &random) }
    }
    var largest = 1
    for id in 1...RequestID.random(in: 3...24, using: &random) {
      let shared = Int.random(in: 0...160, using: &random)
      let own = Int.random(in: 1...50, using: &random)
      let prompt =
        contexts[Int.random(in: 0..<3, using: &random)].prefix(shared)
        + (0..<own).map { _ in Int32.random(in: 0..<FakeModel.vocabulary, using: &random) }
      let request = try request(
        id, prompt: Array(prompt), maxTokens: .random(in: 1...60, using: &random),
        n: Int.random(in: 0...3, using: &random) == 0 ? .random(in: 2...4, using: &random) : 1,
        priority: .random(in: -1...1, using: &random),
        stop: Bool.random(using: &random)
          ? [.random(in: 0..<FakeModel.vocabulary, using: &random)] : [],
        salt: Int.random(in: 0...5, using: &random) == 0 ? [1] : [],
        seed: .random(in: .min ... .max, using: &random))
      largest = max(largest, prompt.count + request.sampling.maxTokens)
      arrivals.append((.random(in: 0...60, using: &random), request))
      if Int.random(in: 0...4, using: &random) == 0 {
        cancels.append((.random(in: 0...120, using: &random), id))
      }
    }
    maxRows = .random(in: 1...96, using: &random)
    maxSequences = .random(in: 1...12, using: &random)
    blocks = BlockPool.blocks(for: largest) + .random(in: 0...4, using: &random)
    layers = seed % 4 == 0 ? 1 : .random(in: 2...30, using: &random)
  }
}

@Suite struct SimulationTests {
  @Test func everySequenceGetsWhatItGetsAloneWhateverElseHappens() throws {
    var (preemptions, hits, copies, mixed, begun, dropped) = (0, 0, 0, 0, 0, 0)
    var runs = 0
    for seed in 0..<800 as Range<UInt64> {
      let player = try play(Scenario(seed: seed), seed, gives: seed >= 400)
      runs += player.steps.reduce(0) { $0 + $1.samples.count { $0.given.count > 1 } }
      preemptions += player.scheduler.counts.preemptions
      hits += player.scheduler.counts.prefixHits
      copies += player.steps.reduce(0) { $0 + $1.layout.copies.count }
      let parts = player.steps.compactMap(\.layout.part)
      begun += parts.count { $0.layers.lowerBound == 0 }
      dropped += zip(parts, parts.dropFirst()).count {
        $1.layers.lowerBound == 0 && $0.layers.upperBound < player.scheduler.limits.cost.layers
      }
      mixed += player.steps.count {
        $0.promptTokens > 0 && $0.promptTokens < $0.layout.tokens.count
      }
    }
    // Else it would have shown nothing.
    #expect(preemptions > 400)
    #expect(hits > 10_000)
    #expect(copies > 400)
    #expect(mixed > 1000)
    #expect(begun > 1000)
    #expect(dropped > 20)
    #expect(runs > 1000)
  }

  @Test func theSameArrivalsGiveTheSameSteps() throws {
    for seed in 0..<20 as Range<UInt64> {
      let runs = try (0..<2).map { _ in try play(Scenario(seed: seed), seed).steps.map(\.layout) }
      #expect(runs[0] == runs[1])
    }
  }

  private func play(_ scenario: Scenario, _ seed: UInt64, gives: Bool = false) throws -> Player {
    var player = Player(
      maxRows: scenario.maxRows, maxSequences: scenario.maxSequences, blocks: scenario.blocks,
      cost: StepCost(
        fixed: 4, contextPerRow: 2000, contextPerSequence: 540, layers: scenario.layers))
    player.givesTokens = gives
    var cancelled: Set<RequestID> = []
    var busy = true
    var now = 0
    while busy || now <= 120 {
      for arrival in scenario.arrivals where arrival.step == now {
        player.scheduler.submit(arrival.request)
      }
      for cancel in scenario.cancels where cancel.step == now {
        if player.scheduler.cancel(cancel.request) { cancelled.insert(cancel.request) }
      }
      busy = try player.step()
      now += 1
      try #require(now < 20_000, "schedule \(seed) does not end")
    }
    for (_, request) in scenario.arrivals {
      for index in 0..<request.n {
        let id = SequenceID(request: request.id, index: index)
        let alone = FakeModel.alone(request, index: index, gives: gives)
        let output = player.outputs[id] ?? []
        if cancelled.contains(request.id), player.finishes[id] == nil {
          #expect(alone.tokens.starts(with: output), "schedule \(seed), \(id)")
        } else {
          #expect(output == alone.tokens, "schedule \(seed), \(id)")
          #expect(player.finishes[id] == alone.finish, "schedule \(seed), \(id)")
        }
      }
    }
    #expect(player.scheduler.isIdle)
    #expect(player.scheduler.counts.blocksUsed == 0)
    #expect(player.steps.allSatisfy { $0.layout.tokens.count <= scenario.maxRows })
    return player
  }
}
