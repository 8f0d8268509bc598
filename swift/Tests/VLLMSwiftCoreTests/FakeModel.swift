@testable import VLLMSwiftCore

/// A model whose KV cache holds the tokens themselves, and whose next token depends on every one of
/// them as the block table shows them: a block that is shared wrongly, freed too early or not copied
/// changes what follows.
struct FakeModel {
  static let vocabulary: Int32 = 50

  enum Fault: Error {
    case outOfRange(Int32)
    case writtenTwice(Int32)
    case writtenWhileRead(Int32)
    case unwritten(position: Int)
    case notOnItsWay(BatchLayout.Part)
  }

  private var memory: [[Int32?]]
  private var sampled: [Int32] = []
  private let layers: Int
  /// Rows that have passed through some of the layers, and how many.
  private var onTheirWay: (tokens: [BatchLayout.Token], sequence: BatchLayout.Sequence, layer: Int)?

  init(blocks: Int, layers: Int = 1) {
    memory = Array(repeating: Array(repeating: nil, count: kvBlockTokens), count: blocks)
    self.layers = layers
  }

  /// The rule.
  static func next(after history: [Int32], _ uniform: Float) -> Int32 {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for token in history { hash = (hash ^ UInt64(UInt32(bitPattern: token))) &* 0x100_0000_01B3 }
    hash = (hash ^ UInt64(uniform.bitPattern)) &* 0x9E37_79B9_7F4A_7C15
    return Int32((hash >> 33) % UInt64(vocabulary))
  }

  /// Stands in for a grammar of odd requests: what comes after a drawn token without a draw.
  static func given(after token: Int32, to request: RequestID) -> [Int32] {
    guard request % 2 == 1, token % 3 == 0 else { return [] }
    return (0..<token % 40).map { (token * 7 + $0) % vocabulary }
  }

  /// What a sequence gets alone.
  /// - Parameter gives: whether odd requests have such a grammar.
  static func alone(
    _ request: Request, index: Int, gives: Bool = false
  ) -> (tokens: [Int32], finish: FinishReason) {
    var history = request.prompt
    var output: [Int32] { Array(history.dropFirst(request.prompt.count)) }
    while true {
      let uniform = Philox.uniform(
        seed: request.seed &+ UInt64(index), index: UInt64(output.count))
      let token = next(after: history, uniform)
      for token in [token] + (gives ? given(after: token, to: request.id) : []) {
        if request.sampling.stopTokenIDs.contains(token) { return (output, .stop) }
        history.append(token)
        if output.count == request.sampling.maxTokens { return (output, .length) }
      }
    }
  }

  /// Computes a step.
  mutating func run(_ step: Scheduler.Step) throws -> [Int32] {
    let layout = step.layout
    for copy in layout.copies {
      memory[try index(copy.to)] = memory[try index(copy.from)]
    }
    try write(layout)
    sampled = []
    for sequence in layout.sequences {
      for row in sequence.rows where layout.logitRows.contains(row) {
        let sample = step.samples[sampled.count]
        let history = try read(sequence)
        sampled.append(sample.known ?? Self.next(after: history, sample.uniform))
      }
    }
    return sampled
  }

  private mutating func write(_ layout: BatchLayout) throws {
    var writers: [Int32: Int] = [:]
    let unfinished = try pass(layout)
    for (number, sequence) in layout.sequences.enumerated() {
      for (offset, row) in sequence.rows.enumerated() {
        let position = sequence.position + offset
        let block = sequence.blocks[position / kvBlockTokens]
        guard writers[block, default: number] == number else { throw Fault.writtenTwice(block) }
        writers[block] = number
        let token: Int32 =
          switch layout.tokens[row] {
          case .id(let id): id
          case .sampled(let index): sampled[index]
          }
        memory[try index(block)][position % kvBlockTokens] =
          unfinished?.contains(row) == true ? nil : token
      }
    }
    for (number, sequence) in layout.sequences.enumerated() {
      for block in sequence.blocks where writers[block, default: number] != number {
        throw Fault.writtenWhileRead(block)
      }
    }
  }

  /// - Returns: rows whose keys and values are not all there after the step.
  private mutating func pass(_ layout: BatchLayout) throws -> Range<Int>? {
    guard let part = layout.part, var sequence = layout.sequences.last else { return nil }
    let tokens = Array(layout.tokens[part.rows])
    sequence.rows = 0..<tokens.count
    guard sequence.rows.count == part.rows.count, part.layers.upperBound <= layers,
      part.layers.lowerBound == 0
        || onTheirWay.map({ $0 == (tokens, sequence, part.layers.lowerBound) }) == true
    else { throw Fault.notOnItsWay(part) }
    onTheirWay = (tokens, sequence, part.layers.upperBound)
    guard part.layers.upperBound == layers else { return part.rows }
    onTheirWay = nil
    return nil
  }

  private func read(_ sequence: BatchLayout.Sequence) throws -> [Int32] {
    try (0..<sequence.position + sequence.rows.count).map { position in
      let block = sequence.blocks[position / kvBlockTokens]
      guard let token = memory[try index(block)][position % kvBlockTokens] else {
        throw Fault.unwritten(position: position)
      }
      return token
    }
  }

  private func index(_ block: Int32) throws -> Int {
    guard memory.indices.contains(Int(block)) else { throw Fault.outOfRange(block) }
    return Int(block)
  }
}

/// Plays the engine: issues a step, then completes the one before.
struct Player {
  let scheduler: Scheduler
  /// Whether draws of odd requests give more tokens than one.
  var givesTokens = false
  var outputs: [SequenceID: [Int32]] = [:]
  var finishes: [SequenceID: FinishReason] = [:]
  var steps: [Scheduler.Step] = []
  var starts: [RequestID: Int] = [:]
  private var model: FakeModel
  private var inFlight: (step: Scheduler.Step, tokens: [Int32])?

  init(
    maxRows: Int = 16, maxSequences: Int = 8, blocks: Int = 64,
    cost: StepCost = StepCost(fixed: 4, contextPerRow: 2000, contextPerSequence: 540)
  ) {
    scheduler = Scheduler(
      Scheduler.Limits(maxRows: maxRows, maxSequences: maxSequences, blocks: blocks, cost: cost))
    model = FakeModel(blocks: blocks, layers: cost.layers)
  }

  /// - Returns: whether there was anything to do.
  mutating func step() throws -> Bool {
    // As the engine does for grammars.
    let held = inFlight.flatMap { givesTokens && $0.step.holdsOddRequests ? $0 : nil }
    if let held {
      inFlight = nil
      complete(held)
    }
    let next = scheduler.schedule()
    let previous = inFlight
    inFlight = try next.map { ($0, try model.run($0)) }
    if let next {
      steps.append(next)
      for start in next.starts { starts[start.request] = start.cachedTokens }
    }
    if let previous { complete(previous) }
    return next != nil || previous != nil || held != nil
  }

  private mutating func complete(_ done: (step: Scheduler.Step, tokens: [Int32])) {
    let draws = zip(done.step.samples, done.tokens).map { sample, token in
      Scheduler.Draw(
        [token] + (givesTokens ? FakeModel.given(after: token, to: sample.sequence.request) : []))
    }
    for outcome in scheduler.complete(done.step, draws: draws) {
      outputs[outcome.sequence, default: []] += outcome.tokens
      if let finish = outcome.finish { finishes[outcome.sequence] = finish }
    }
  }

  mutating func run() throws {
    while try step() {}
  }

  /// Until the only output of a request ends.
  mutating func run(until request: RequestID) throws {
    while finishes[SequenceID(request: request)] == nil { _ = try step() }
  }

  mutating func run(_ requests: [Request]) throws {
    for request in requests { scheduler.submit(request) }
    try run()
  }

  /// Rows of prompts that were computed.
  var promptRows: Int { steps.reduce(0) { $0 + $1.promptTokens } }
}

extension Scheduler.Step {
  fileprivate var holdsOddRequests: Bool { samples.contains { $0.sequence.request % 2 == 1 } }
}

func request(
  _ id: RequestID, prompt: [Int32], maxTokens: Int = 3, n: Int = 1, priority: Int = 0,
  stop: Set<Int32> = [], salt: [UInt8] = [], seed: UInt64? = nil
) throws -> Request {
  var sampling = SamplingParams()
  sampling.maxTokens = maxTokens
  sampling.stopTokenIDs = stop
  sampling.seed = seed
  return try Request(
    id: id, prompt: prompt, sampling: sampling, n: n, priority: priority, salt: salt,
    limits: RequestLimits(
      vocabularySize: Int(FakeModel.vocabulary), maxModelLength: 100_000, cacheTokens: 100_000))
}

func request(
  _ id: RequestID, prompt: Int = 4, maxTokens: Int = 3, n: Int = 1, priority: Int = 0,
  stop: Set<Int32> = []
) throws -> Request {
  // Prompts of different requests have nothing in common.
  let tokens = (0..<prompt).map { Int32((Int(id) + $0 * $0 * 7) % 50) }
  return try request(
    id, prompt: tokens, maxTokens: maxTokens, n: n, priority: priority, stop: stop)
}
