/// Decides what each forward pass runs: first one token of every sequence that decodes, then prompt
/// chunks, until the step's budget of rows is used. First come, first served. Knows no tensor and no
/// clock: the same arrivals give the same steps.
///
/// Steps are pipelined: `schedule` may be called once more before `complete` is called for the step
/// before. A row that continues a token still being sampled says so (`BatchLayout.Token.sampled`).
public struct Scheduler: Sendable {
  /// What a step will sample, and for whom; entry i is row i of the sampled tokens.
  public struct Sample: Sendable, Equatable {
    public let request: RequestID
    public let sampling: SamplingParams
    /// The draw, uniform in [0, 1).
    public let uniform: Float
    /// How many tokens its sequence sampled before.
    public let index: Int
    /// The prompt's token after the row, of which only logprobs are wanted; nil samples one.
    public let known: Int32?

    /// How many most likely tokens are to be reported beside the row's own; nil is none.
    public var logprobs: Int? { known == nil ? sampling.logprobs : sampling.promptLogprobs }
  }

  public struct Step: Sendable {
    public fileprivate(set) var layout = BatchLayout()
    public fileprivate(set) var samples: [Sample] = []
    /// The requests that have rows in it.
    public fileprivate(set) var members: [RequestID] = []
    public fileprivate(set) var promptTokens = 0
  }

  /// A token, the end of a request, or both.
  public struct Outcome: Sendable, Equatable {
    public let request: RequestID
    public let token: Int32?
    public let finish: FinishReason?
    /// The token that ended it with `stop`.
    public let stopToken: Int32?
    /// The entry of the step's samples that it comes from.
    public let sample: Int
  }

  private struct Running {
    let request: Request
    let blocks: [Int32]
    /// Rows issued so far; also the position of the next.
    var position = 0
    var samplesIssued = 0
    var samplesRead = 0
    /// Its newest token, once its prompt is through.
    var newest: BatchLayout.Token?
    var stepsInFlight = 0
    var finished = false

    var promptLeft: Int { max(0, request.prompt.count - position) }
    var wantsDecode: Bool {
      !finished && newest != nil && samplesIssued < request.sampling.maxTokens
    }
  }

  /// Rows of a step whose prompt logprobs are wanted, besides those that sample: each has a row of
  /// logits, and 128 rows of a vocabulary of 128k are 64 MB.
  static let maxScoredRows = 128

  private let maxRows: Int
  private let maxSequences: Int
  private var allocator: BlockAllocator
  private var waiting: [Request] = []
  private var running: [Running] = []

  /// - Parameters:
  ///   - maxRows: rows of one step (vLLM's `max_num_batched_tokens`).
  ///   - maxSequences: sequences that run at once (`max_num_seqs`).
  public init(maxRows: Int, maxSequences: Int, blocks: Int) {
    self.maxRows = maxRows
    self.maxSequences = min(maxSequences, maxRows)
    allocator = BlockAllocator(capacity: blocks)
  }

  public var waitingCount: Int { waiting.count }
  public var runningCount: Int { running.count { !$0.finished } }
  public var isIdle: Bool { waiting.isEmpty && running.isEmpty }
  public var blockCapacity: Int { allocator.capacity }
  public var blocksInUse: Int { allocator.capacity - allocator.available }

  public mutating func submit(_ request: Request) {
    waiting.append(request)
  }

  /// Ends a request. Its blocks are free once no step in flight writes them.
  /// - Returns: whether it was there and not yet finished.
  public mutating func cancel(_ id: RequestID) -> Bool {
    if let index = waiting.firstIndex(where: { $0.id == id }) {
      waiting.remove(at: index)
      return true
    }
    guard let index = running.firstIndex(where: { $0.request.id == id && !$0.finished }) else {
      return false
    }
    running[index].finished = true
    retire()
    return true
  }

  /// Ends every request, as after a failure of the backend, and frees every block.
  /// - Returns: those that were not yet finished.
  public mutating func cancelAll() -> [RequestID] {
    let ended = running.filter { !$0.finished }.map(\.request.id) + waiting.map(\.id)
    waiting.removeAll()
    for sequence in running { allocator.release(sequence.blocks) }
    running.removeAll()
    return ended
  }

  /// Blocks for work beside the requests, or nil if too few are free. Give back with `release`.
  public mutating func borrowBlocks(_ count: Int) -> [Int32]? { allocator.allocate(count) }
  public mutating func release(_ blocks: [Int32]) { allocator.release(blocks) }

  /// The next step, or nil when there is nothing to run.
  public mutating func schedule() -> Step? {
    var step = Step()
    var budget = maxRows
    for index in running.indices where budget > 0 && running[index].wantsDecode {
      issue(index, rows: 1, in: &step)
      budget -= 1
    }
    for index in running.indices where budget > 0 && !running[index].finished {
      budget -= issuePrompt(index, budget: budget, in: &step)
    }
    while budget > 0, admit() {
      budget -= issuePrompt(running.count - 1, budget: budget, in: &step)
    }
    return step.members.isEmpty ? nil : step
  }

  /// Takes the step's sampled tokens. Tokens of requests that ended meanwhile are dropped.
  /// - Parameter tokens: one for each of `step.samples`.
  public mutating func complete(_ step: Step, tokens: [Int32]) -> [Outcome] {
    var outcomes: [Outcome] = []
    for (row, (sample, token)) in zip(step.samples, tokens).enumerated() where sample.known == nil {
      guard let index = running.firstIndex(where: { $0.request.id == sample.request }),
        !running[index].finished
      else { continue }
      outcomes.append(take(token, of: row, for: index))
    }
    for id in step.members {
      guard let index = running.firstIndex(where: { $0.request.id == id }) else { continue }
      running[index].stepsInFlight -= 1
    }
    retire()
    return outcomes
  }

  private mutating func admit() -> Bool {
    guard running.count < maxSequences, let next = waiting.first,
      let blocks = allocator.allocate(
        BlockAllocator.blocks(for: next.prompt.count + next.sampling.maxTokens))
    else { return false }
    waiting.removeFirst()
    running.append(Running(request: next, blocks: blocks))
    return true
  }

  /// Issues as many rows of a prompt as fit.
  /// - Returns: how many.
  private mutating func issuePrompt(_ index: Int, budget: Int, in step: inout Step) -> Int {
    let scored = step.samples.count { $0.known != nil }
    let scores = running[index].request.sampling.promptLogprobs != nil
    let rows = min(
      running[index].promptLeft, budget, scores ? Self.maxScoredRows - scored : budget)
    if rows > 0 { issue(index, rows: rows, in: &step) }
    return rows
  }

  private mutating func issue(_ index: Int, rows: Int, in step: inout Step) {
    let sequence = running[index]
    let request = sequence.request
    let end = sequence.position + rows
    let tokens: [BatchLayout.Token] =
      if let newest = sequence.newest {
        [newest]
      } else {
        request.prompt[sequence.position..<end].map { .id($0) }
      }
    let samples = end >= request.prompt.count
    let scored =
      request.sampling.promptLogprobs == nil || sequence.newest != nil
      ? [] : request.prompt[sequence.position..<end + (samples ? 0 : 1)].dropFirst()
    step.layout.append(
      tokens, position: sequence.position, blocks: sequence.blocks,
      logits: scored.count + (samples ? 1 : 0))
    step.samples += scored.map { known in
      Sample(
        request: request.id, sampling: request.sampling, uniform: 0, index: 0, known: known)
    }
    if sequence.newest == nil { step.promptTokens += rows }
    if samples {
      running[index].newest = .sampled(step.samples.count)
      step.samples.append(
        Sample(
          request: request.id, sampling: request.sampling,
          uniform: Philox.uniform(
            seed: request.seed, index: UInt64(sequence.samplesIssued)),
          index: sequence.samplesIssued, known: nil))
      running[index].samplesIssued += 1
    }
    running[index].position = end
    running[index].stepsInFlight += 1
    step.members.append(request.id)
  }

  private mutating func take(_ token: Int32, of sample: Int, for index: Int) -> Outcome {
    running[index].samplesRead += 1
    let sequence = running[index]
    // The step after may hold a newer one already, still being sampled.
    if sequence.samplesIssued == sequence.samplesRead { running[index].newest = .id(token) }
    let stopped = sequence.request.sampling.stopTokenIDs.contains(token)
    let full = sequence.samplesRead == sequence.request.sampling.maxTokens
    running[index].finished = stopped || full
    return Outcome(
      request: sequence.request.id, token: stopped ? nil : token,
      finish: stopped ? .stop : full ? .length : nil, stopToken: stopped ? token : nil,
      sample: sample)
  }

  private mutating func retire() {
    for sequence in running where sequence.finished && sequence.stepsInFlight == 0 {
      allocator.release(sequence.blocks)
    }
    running.removeAll { $0.finished && $0.stepsInFlight == 0 }
  }
}
