/// Decides what each forward pass runs. Knows no tensor and no clock: the same arrivals give the same
/// steps.
///
/// A step holds one row of every sequence that decodes, then rows of tokens that grammars gave and of
/// prompts as far as its budget goes (`StepCost`); without decoding sequences, the budget is all the
/// rows a step may have. Where that buys few rows of a prompt, more of them pass through some of the
/// layers each step (`Passage`).
///
/// A sequence takes blocks as its rows are issued. When none are left, the sequence that comes last,
/// by priority and then arrival, gives up its own and waits; it is computed again later.
///
/// Steps are pipelined: `schedule` may be called once more before `complete` is called for the step
/// before. A row that continues a token still being sampled says so (`BatchLayout.Token.sampled`).
/// Steps take effect in order, so blocks are free for the next step once they are given up, and hold
/// their rows for the next step once these are issued.
public final class Scheduler {
  /// What a step will sample, and for whom; entry i is row i of the sampled tokens.
  public struct Sample: Sendable, Equatable {
    public let sequence: SequenceID
    public let sampling: SamplingParams
    /// The draw, uniform in [0, 1).
    public let uniform: Float
    /// How many tokens its sequence sampled before.
    public let index: Int
    /// The prompt's token after the row, of which only logprobs are wanted; nil samples one.
    public let known: Int32?
    /// Its sequence's newest tokens, as far as they were given with a draw and not drawn.
    public let given: [Int32]

    /// How many most likely tokens are to be reported beside the row's own; nil is none.
    public var logprobs: Int? { known == nil ? sampling.logprobs : sampling.promptLogprobs }
  }

  /// A request whose first rows are found or computed.
  public struct Start: Sendable, Equatable {
    public let request: RequestID
    /// Tokens of its prompt that need not be computed.
    public let cachedTokens: Int
  }

  public struct Step {
    public internal(set) var layout = BatchLayout()
    public internal(set) var samples: [Sample] = []
    public internal(set) var starts: [Start] = []
    public internal(set) var promptTokens = 0
    var number: UInt64 = 0
    /// The sequences of `layout`, and of `samples`.
    var members: [Sequence] = []
    var sampled: [Sequence] = []
  }

  /// What a sample gave.
  public struct Draw: Sendable, Equatable {
    /// The token, and after it those that a grammar leaves no choice about. None, and no end: the
    /// draw is done again.
    public var tokens: [Int32]
    /// Why its sequence ends after these, apart from stop tokens and its number of tokens.
    public var finish: FinishReason?

    public init(_ tokens: [Int32], finish: FinishReason? = nil) {
      (self.tokens, self.finish) = (tokens, finish)
    }
  }

  /// Tokens, the end of a sequence, or both.
  public struct Outcome: Sendable, Equatable {
    public let sequence: SequenceID
    public let tokens: [Int32]
    public let finish: FinishReason?
    /// The token that ended it with `stop`.
    public let stopToken: Int32?
    /// The entry of the step's samples that it comes from.
    public let sample: Int
  }

  public struct Limits: Sendable {
    /// Rows of one step.
    public var maxRows: Int
    /// Sequences that run at once; a step has a row for each.
    public var maxSequences: Int
    public var blocks: Int
    public var cost: StepCost

    public init(maxRows: Int, maxSequences: Int, blocks: Int, cost: StepCost) {
      (self.maxRows, self.maxSequences) = (maxRows, min(maxSequences, maxRows))
      (self.blocks, self.cost) = (blocks, cost)
    }
  }

  /// Rows of a step whose prompt logprobs are wanted, besides those that sample: each has a row of
  /// logits, and 128 rows of a vocabulary of 128k are 64 MB.
  public static let maxScoredRows = 128

  let limits: Limits
  var cache: PrefixCache
  /// Both in the order of `Sequence.precedes`.
  var waiting: [Sequence] = []
  var running: [Sequence] = []
  var passage: Passage?
  var counted = Counts()
  var pins: [PinID: [Int32]] = [:]
  var lastPin: PinID = 0
  /// Blocks of work beside the requests.
  public private(set) var borrowed: [Int32]?
  private var arrivals: UInt64 = 0
  private var steps: UInt64 = 0
  /// Of sequences that found no block yet.
  private var starts: [Start] = []

  public init(_ limits: Limits) {
    self.limits = limits
    cache = PrefixCache(capacity: limits.blocks)
  }

  public var isIdle: Bool { waiting.isEmpty && running.isEmpty }

  /// Whether an output of a request has not ended. O(waiting + running).
  public func holds(_ id: RequestID) -> Bool {
    running.contains { $0.id.request == id } || waiting.contains { $0.id.request == id }
  }

  public var counts: Counts {
    var counts = counted
    (counts.running, counts.waiting) = (running.count, waiting.count)
    (counts.blocks, counts.blocksUsed) = (cache.capacity, cache.inUse)
    counts.blocksCached = cache.idle
    return counts
  }

  /// Queues a request's sequences. O(waiting) for each.
  public func submit(_ request: Request) {
    arrivals += 1
    for index in 0..<request.n {
      insert(Sequence(request, index: index, arrival: arrivals), in: &waiting)
    }
  }

  /// Ends a request; its blocks are free for the next step. O(waiting + running).
  /// - Returns: whether it was there and not yet finished.
  public func cancel(_ id: RequestID) -> Bool { endAll { $0.id.request == id } }

  /// The same of one output of a request.
  public func cancel(_ id: SequenceID) -> Bool { endAll { $0.id == id } }

  /// Ends every request, as after a failure of the backend, and forgets what the blocks hold, pinned
  /// and borrowed ones too.
  /// - Returns: those that were not yet finished.
  public func cancelAll() -> Set<RequestID> {
    let ended = waiting + running
    for sequence in ended { end(sequence) }
    cache.reset()
    (pins, borrowed) = ([:], nil)
    return Set(ended.map(\.id.request))
  }

  /// Sets blocks apart for work beside the requests, until `returnBorrowed`.
  /// - Returns: false if too few are free, or some are borrowed already.
  public func borrowBlocks(_ count: Int) -> Bool {
    guard borrowed == nil else { return false }
    borrowed = cache.take(count)
    return borrowed != nil
  }

  public func returnBorrowed() {
    if let borrowed { cache.letGo(borrowed) }
    borrowed = nil
  }

  /// The next step, or nil when there is nothing to run. O(running + rows), and for each sequence
  /// that it looks at in the queue O(tokens + running).
  public func schedule() -> Step? {
    steps += 1
    var step = Step()
    step.number = steps
    step.starts = starts
    for sequence in running where sequence.wantsRows && sequence.decodes {
      issue(sequence, rows: 1, in: &step)
    }
    let budget = issueRuns(in: &step)
    admit(for: budget, in: &step)
    issuePrompts(within: budget, in: &step)
    // Not earlier: a step computes its sequences side by side, so none may read another's rows.
    for sequence in step.members { register(sequence) }
    guard !step.members.isEmpty else {
      starts = step.starts
      return nil
    }
    starts = []
    return step
  }

  /// Takes what the step sampled. That of requests that ended meanwhile is dropped.
  ///
  /// A draw of more than one token must be known before the next step is scheduled.
  /// - Parameter draws: one for each of `step.samples`.
  public func complete(_ step: Step, draws: [Draw]) -> [Outcome] {
    var outcomes: [Outcome] = []
    for (row, (sequence, draw)) in zip(step.sampled, draws).enumerated()
    where sequence.state != .ended && step.samples[row].known == nil {
      guard let outcome = sequence.append(draw, of: row) else { continue }
      register(sequence)
      if outcome.finish != nil { end(sequence) }
      outcomes.append(outcome)
    }
    return outcomes
  }
}

extension Scheduler {
  func insert(_ sequence: Sequence, in queue: inout [Sequence]) {
    // Most come last.
    let index = queue.lastIndex { $0.precedes(sequence) }.map { $0 + 1 } ?? 0
    queue.insert(sequence, at: index)
  }

  /// Lets others find the sequence's full blocks.
  private func register(_ sequence: Sequence) {
    guard sequence.state == .running else { return }
    while sequence.registered < sequence.fullBlocks, let end = sequence.registeredEnd,
      let tokens = sequence.tokens(ofBlock: sequence.registered)
    {
      sequence.registeredEnd = cache.register(
        tokens, after: end, block: sequence.blocks[sequence.registered])
      sequence.registered += 1
    }
  }

  private func endAll(where isMeant: (Sequence) -> Bool) -> Bool {
    let ended = (waiting + running).filter(isMeant)
    for sequence in ended { end(sequence) }
    return !ended.isEmpty
  }

  private func end(_ sequence: Sequence) {
    if sequence.state == .running {
      running.removeAll { $0 === sequence }
    } else {
      waiting.removeAll { $0 === sequence }
    }
    sequence.state = .ended
    sequence.leader = nil
    giveUpBlocks(of: sequence)
  }

  /// Of rows that were on their way through the layers nothing is left then.
  func giveUpBlocks(of sequence: Sequence) {
    if passage?.sequence === sequence { passage = nil }
    cache.letGo(sequence.blocks)
    sequence.blocks = []
  }
}
