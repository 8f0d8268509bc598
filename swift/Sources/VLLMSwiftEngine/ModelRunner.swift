import MLXArray
import VLLMSwiftCore
import VLLMSwiftModels

/// One model on the engine's thread: its schedule, and the step that is being computed.
final class ModelRunner {
  /// Requests that run at once; vLLM's `max_num_seqs`.
  private static let maxSequences = 256
  /// Rows of a step that wants all its logits: 128 rows of a vocabulary of 128k are 64 MB.
  private static let logitsRows = 128

  let id: ModelID
  let model: Model
  private let stream: MLXStream
  private let requests: RequestTable
  private var scheduler: Scheduler
  private let samplers: Samplers
  private var inFlight: (step: Scheduler.Step, result: StepResult)?
  private(set) var counters = Counters()
  /// Called before events go out, so that whoever hears of an end finds it counted.
  private let publish: () -> Void

  init(
    _ id: ModelID, _ model: Model, on stream: MLXStream, requests: RequestTable,
    publish: @escaping () -> Void
  ) {
    (self.id, self.model, self.stream, self.requests) = (id, model, stream, requests)
    self.publish = publish
    samplers = Samplers(vocabularySize: model.limits.vocabularySize)
    scheduler = Scheduler(
      maxRows: Model.maxRows, maxSequences: Self.maxSequences, blocks: model.cacheBlocks)
  }

  var isIdle: Bool { scheduler.isIdle && inFlight == nil }

  func submit(_ new: [Request]) {
    for request in new {
      samplers.add(request)
      scheduler.submit(request)
    }
  }

  func cancel(_ request: RequestID) {
    guard scheduler.cancel(request) else { return }
    samplers.remove(request)
    publish()
    requests.end(request, .cancelled)
  }

  /// Issues the next step, then reads the one before: the device is never without work while tokens
  /// are handed out.
  func advance() {
    do {
      let next = try issue()
      let previous = inFlight
      inFlight = next
      if let previous { try read(previous.step, previous.result) }
    } catch {
      fail(error)
    }
    if isIdle { model.executor.rest() }
  }

  /// Ends all requests.
  func close(_ error: EngineError) {
    for request in scheduler.cancelAll() { requests.end(request, .error, error: error) }
    requests.endAll(of: id, error: error)
    samplers.removeAll()
    inFlight = nil
    try? stream.synchronize()
  }

  func stats() -> Counters {
    var counters = counters
    counters.running = scheduler.runningCount
    counters.waiting = scheduler.waitingCount
    counters.blocks = scheduler.blockCapacity
    counters.blocksUsed = scheduler.blocksInUse
    return counters
  }

  private func issue() throws -> (step: Scheduler.Step, result: StepResult)? {
    guard let step = scheduler.schedule() else { return nil }
    for sequence in step.members { requests.started(sequence) }
    let previous = inFlight.flatMap { $0.step.samples.isEmpty ? nil : $0.result.tokens }
    let rows = try samplers.rows(step.samples)
    let result = try model.executor.issue(step.layout, rows, after: previous)
    counters.steps += 1
    counters.promptTokens += step.promptTokens
    return (step, result)
  }

  private func read(_ step: Scheduler.Step, _ result: StepResult) throws {
    let tokens: [Int32]
    if step.samples.isEmpty {
      try MLXArray.eval([result.tokens])
      tokens = []
    } else {
      tokens = try result.tokens.elements(of: Int32.self, on: stream)
    }
    let logprobs = try result.logprobs(of: step.samples, on: stream)
    counters.outputTokens += step.samples.count { $0.known == nil }
    let outcomes = scheduler.complete(step, tokens: tokens)
    for outcome in outcomes where outcome.finish != nil { samplers.remove(outcome.request) }
    publish()
    for (sample, logprobs) in zip(step.samples, logprobs) where sample.known != nil {
      requests.deliver(promptLogprobs: logprobs, of: sample.request)
    }
    for outcome in outcomes { requests.deliver(outcome, logprobs: logprobs[outcome.sample]) }
  }

  private func fail(_ error: any Error) {
    let error = error as? EngineError ?? EngineError(.internal, "\(error)")
    inFlight = nil
    try? stream.synchronize()
    let ended = scheduler.cancelAll()
    samplers.removeAll()
    publish()
    for request in ended { requests.end(request, .error, error: error) }
  }

  /// The logits of every position of a sequence of its own, beside the requests.
  func logits(_ request: LogitsRequest) throws {
    let count = request.tokens.count
    let vocabulary = model.limits.vocabularySize
    guard let blocks = scheduler.borrowBlocks(BlockAllocator.blocks(for: count)) else {
      throw EngineError(
        .requestTooLarge, "\(count) tokens of KV cache are not free beside the running requests")
    }
    defer {
      scheduler.release(blocks)
      if isIdle { model.executor.rest() }
    }
    for start in stride(from: 0, to: count, by: Self.logitsRows) {
      let rows = start..<min(count, start + Self.logitsRows)
      var layout = BatchLayout()
      layout.append(
        request.tokens[rows].map { .id($0) }, position: start, blocks: blocks, logits: rows.count)
      let logits = try model.executor.logits(layout, after: nil)
      let part = request.destination[
        rows.lowerBound * vocabulary..<rows.upperBound * vocabulary]
      try logits.copy(
        to: UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(rebasing: part)), on: stream)
    }
  }
}

/// What a model has done and is doing.
public struct Counters: Sendable {
  public var running = 0
  public var waiting = 0
  public var promptTokens = 0
  public var outputTokens = 0
  public var steps = 0
  public var blocks = 0
  public var blocksUsed = 0

  static func + (a: Counters, b: Counters) -> Counters {
    Counters(
      running: a.running + b.running, waiting: a.waiting + b.waiting,
      promptTokens: a.promptTokens + b.promptTokens,
      outputTokens: a.outputTokens + b.outputTokens, steps: a.steps + b.steps,
      blocks: a.blocks + b.blocks, blocksUsed: a.blocksUsed + b.blocksUsed)
  }
}
