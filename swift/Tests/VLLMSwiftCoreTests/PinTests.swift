import Testing

@testable import VLLMSwiftCore

@Suite struct PinTests {
  private let prefix: [Int32] = (0..<70).map { Int32($0 * $0 * 3 % 50) }

  private func asking(
    _ id: RequestID, _ prompt: [Int32], maxTokens: Int, scored: Bool
  ) throws -> Request {
    var sampling = SamplingParams()
    (sampling.maxTokens, sampling.promptLogprobs) = (maxTokens, scored ? 1 : nil)
    return try Request(
      id: id, prompt: prompt, sampling: sampling,
      limits: RequestLimits(vocabularySize: 50, maxModelLength: 100_000, cacheTokens: 100_000))
  }

  /// A player of a few blocks, two of which hold the prefix.
  private func player(blocks: Int) throws -> Player {
    var player = Player(blocks: blocks)
    try player.run([request(99, prompt: prefix, maxTokens: 1)])
    return player
  }

  @Test func aPinnedPrefixIsSharedByWhomItFits() throws {
    var player = try player(blocks: 4)
    let (_, blocks) = try player.scheduler.pin(prefix)
    #expect(blocks.count == 2)
    let fitting = try asking(1, prefix + [1, 2, 3], maxTokens: 20, scored: false)
    #expect(player.scheduler.shortage(for: fitting) == nil)
    let shortage = player.scheduler.shortage(
      for: try asking(2, [7] + prefix, maxTokens: 20, scored: false))
    #expect(shortage?.needed == 3 && shortage?.left == 2)
    try player.run([fitting])
    #expect(player.starts[1] == 64)
    #expect(player.outputs[SequenceID(request: 1)]?.count == 20)
  }

  @Test func aScoredPromptNeedsBlocksOfItsOwnBesideAPin() throws {
    let player = try player(blocks: 4)
    let scored = try asking(1, prefix + [1, 2, 3], maxTokens: 20, scored: true)
    #expect(player.scheduler.shortage(for: scored) == nil)
    player.scheduler.submit(scored)
    #expect(throws: EngineError.self) { try player.scheduler.pin(prefix) }
    #expect(player.scheduler.cancel(1))
    _ = try player.scheduler.pin(prefix)
    #expect(player.scheduler.shortage(for: scored) != nil)
  }

  /// Whatever is pinned meanwhile, all that was let in ends, with what it gives alone.
  @Test func whoFitsBesidePinsEnds() throws {
    var (pinned, refusedPins, refused, ended) = (0, 0, 0, 0)
    for seed in 0..<300 as Range<UInt64> {
      var random = SeededGenerator(state: seed)
      var player = Player(
        maxRows: .random(in: 4...64, using: &random), maxSequences: 4,
        blocks: .random(in: 4...9, using: &random))
      let contexts = (0..<2).map { _ in
        (0..<96).map { _ in Int32.random(in: 0..<50, using: &random) }
      }
      var pins: [PinID] = []
      var requests: [Request] = []
      for now in 0..<5000 {
        if now < 200, Int.random(in: 0..<6, using: &random) == 0 {
          let shared = contexts[.random(in: 0..<2, using: &random)]
          let prompt =
            Array(shared.prefix(.random(in: 1...96, using: &random)))
            + [Int32.random(in: 0..<50, using: &random)]
          let most = min(40, player.scheduler.limits.blocks * kvBlockTokens - prompt.count)
          let new = try asking(
            RequestID(now + 1), prompt, maxTokens: .random(in: 1...max(1, most), using: &random),
            scored: Bool.random(using: &random))
          if player.scheduler.shortage(for: new) == nil {
            player.scheduler.submit(new)
            requests.append(new)
          } else {
            refused += 1
          }
        }
        if now < 200, Int.random(in: 0..<10, using: &random) == 0 {
          do {
            pins.append(try player.scheduler.pin(contexts[.random(in: 0..<2, using: &random)]).0)
            pinned += 1
          } catch {
            refusedPins += 1
          }
        }
        if Int.random(in: 0..<20, using: &random) == 0, let pin = pins.popLast() {
          player.scheduler.unpin(pin)
        }
        _ = try player.step()
        if player.scheduler.isIdle, now >= 200 { break }
      }
      try #require(player.scheduler.isIdle, "schedule \(seed) does not end")
      for request in requests {
        let alone = FakeModel.alone(request, index: 0)
        #expect(player.outputs[SequenceID(request: request.id)] == alone.tokens, "schedule \(seed)")
        ended += 1
      }
    }
    // Else it would have shown nothing.
    #expect(pinned > 300 && refusedPins > 100 && refused > 100 && ended > 3000)
  }
}
