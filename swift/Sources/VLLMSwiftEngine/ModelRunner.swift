import MLXArray
import VLLMSwiftCore
import VLLMSwiftModels

/// One model on the engine's thread: its schedule, and the step that is being computed.
final class ModelRunner {
  let id: ModelID
  let model: Model
  let stream: MLXStream
  private let requests: RequestTable
  let scheduler: Scheduler
  private var deadlines = Deadlines()
  private let samplers: Samplers
  private let guides = Guides()
  private typealias InFlight = (step: Scheduler.Step, result: StepResult)
  private var inFlight: InFlight?
  private var counters = Counters()
  /// Called before events go out, so that whoever hears of an end finds it counted.
  let publish: () -> Void

  init(
    _ id: ModelID, _ model: Model, on stream: MLXStream, requests: RequestTable,
    publish: @escaping () -> Void
  ) {
    (self.id, self.model, self.stream, self.requests) = (id, model, stream, requests)
    self.publish = publish
    samplers = Samplers(vocabularySize: model.limits.vocabularySize)
    scheduler = Scheduler(
      Scheduler.Limits(
        maxRows: model.maxRows, maxSequences: model.maxSequences, blocks: model.cacheBlocks,
        cost: model.executor.stepCost))
  }

  var isIdle: Bool { scheduler.isIdle && inFlight == nil }

  func submit(_ new: [Submission]) {
    for one in new {
      if let refusal = refusal(of: one.request) {
        requests.end(one.request.id, .error, error: refusal)
        continue
      }
      samplers.add(one.request)
      guides.add(one.request, one.grammar)
      scheduler.submit(one.request)
      if let deadline = one.deadline { deadlines.add(one.request.id, deadline) }
    }
  }

  func cancel(_ request: RequestID) {
    deadlines.remove(request)
    guard scheduler.cancel(request) else { return }
    forget(request)
    publish()
    requests.end(request, .cancelled)
  }

  /// Ends one output of a request; the others go on.
  func cancel(_ sequence: SequenceID) {
    guard scheduler.cancel(sequence) else { return }
    publish()
    requests.cancelled(sequence)
    forgetUnlessScheduled(sequence.request)
  }

  /// Ends the requests whose time is over.
  private func expire() {
    for request in deadlines.takeDue() {
      end(
        request,
        EngineError(
          .timedOut, "the request did not end within its timeout: raise it, or ask for less"))
    }
  }

  /// Ends a request that has not ended yet.
  private func end(_ request: RequestID, _ error: EngineError) {
    deadlines.remove(request)
    guard scheduler.cancel(request) else { return }
    forget(request)
    publish()
    requests.end(request, .error, error: error)
  }

  private func forget(_ request: RequestID) {
    deadlines.remove(request)
    samplers.remove(request)
    guides.remove(request)
  }

  /// The schedule decides, and not the table of requests: one that was released there runs on until
  /// its cancellation arrives here.
  private func forgetUnlessScheduled(_ request: RequestID) {
    if !scheduler.holds(request) { forget(request) }
  }

  /// Issues the next step, then reads the one before: the device is never without work while tokens
  /// are handed out. A step that draws for a grammar is read first. What a step drew is announced
  /// when this thread waits for the one after it, or when the loop finds that there is none.
  func advance() {
    expire()
    do {
      var drawn: Drawn?
      if let step = inFlight, guides.hold(any: step.step.samples) {
        inFlight = nil
        drawn = try read(step.step, step.result)
      }
      let (next, failures) = try issue()
      if let previous = inFlight { drawn = try read(previous.step, previous.result) }
      inFlight = next
      if let drawn { deliver(drawn) }
      // An end comes after all that was drawn before.
      for failure in failures { end(failure.request, failure.error) }
    } catch {
      fail(error)
    }
  }

  func rest() { model.executor.rest() }

  /// Ends all requests.
  func close(_ error: EngineError) {
    for request in scheduler.cancelAll() { requests.end(request, .error, error: error) }
    requests.endAll(of: id, error: error)
    samplers.removeAll()
    guides.removeAll()
    inFlight = nil
    try? stream.synchronize()
  }

  func stats() -> Counters {
    var counters = counters
    counters.schedule = scheduler.counts
    return counters
  }

  /// What stays counted once the model is gone.
  func past() -> Counters {
    var counters = stats()
    counters.schedule = counters.schedule.past
    return counters
  }

  private func issue() throws -> (InFlight?, [Guides.Failure]) {
    guard let step = scheduler.schedule() else { return (nil, []) }
    for start in step.starts { requests.started(start) }
    let previous = inFlight.flatMap { $0.step.samples.isEmpty ? nil : $0.result.tokens }
    let logits = try model.executor.forward(step.layout, after: previous)
    // While that runs.
    let start = threadTime()
    let (masks, failures) = guides.masks(for: step.samples)
    if !masks.isEmpty {
      counters.masks += masks.count
      counters.maskTime += threadTime() - start
    }
    let rows = try samplers.rows(step.samples, masks: masks)
    let result = try model.executor.sample(rows, of: logits)
    counters.steps += 1
    counters.promptTokens += step.promptTokens
    return ((step, result), failures)
  }

  /// What a step gave, on its way to whoever asked for it.
  private struct Drawn {
    let samples: [Scheduler.Sample]
    let outcomes: [Scheduler.Outcome]
    let logprobs: [ArraySlice<TokenLogprob>]
  }

  private func read(_ step: Scheduler.Step, _ result: StepResult) throws -> Drawn {
    requests.events.announce()
    let tokens: [Int32]
    if step.samples.isEmpty {
      try MLXArray.eval([result.tokens])
      tokens = []
    } else {
      tokens = try result.tokens.elements(of: Int32.self, on: stream)
    }
    let logprobs = try result.logprobs(of: step.samples, on: stream)
    let (draws, failures) = guides.draws(tokens, of: step.samples)
    for failure in failures { end(failure.request, failure.error) }
    endThose(of: step, without: tokens)
    let outcomes = scheduler.complete(step, draws: draws)
    counters.outputTokens += step.samples.count { $0.known == nil }
    counters.outputTokens += outcomes.reduce(0) { $0 + max(0, $1.tokens.count - 1) }
    return Drawn(samples: step.samples, outcomes: outcomes, logprobs: logprobs)
  }

  private func deliver(_ drawn: Drawn) {
    publish()
    requests.deliver(drawn.outcomes, of: drawn.samples, logprobs: drawn.logprobs)
    for outcome in drawn.outcomes where outcome.finish != nil {
      forgetUnlessScheduled(outcome.sequence.request)
    }
  }

  /// Ends the requests of rows that have no token.
  private func endThose(of step: Scheduler.Step, without tokens: [Int32]) {
    for (sample, token) in zip(step.samples, tokens) {
      guard let fault = StepResult.fault(of: token) else { continue }
      end(sample.sequence.request, fault)
    }
  }

  private func fail(_ error: any Error) {
    let error = error as? EngineError ?? EngineError(.internal, "\(error)")
    inFlight = nil
    try? stream.synchronize()
    let ended = scheduler.cancelAll()
    samplers.removeAll()
    guides.removeAll()
    publish()
    for request in ended {
      deadlines.remove(request)
      requests.end(request, .error, error: error)
    }
  }
}

/// What a model has done and is doing.
public struct Counters: Sendable {
  public var promptTokens = 0
  public var outputTokens = 0
  public var steps = 0
  /// Of grammars, and the time that computing them took.
  public var masks = 0
  public var maskTime: Duration = .zero
  public var schedule = Scheduler.Counts()

  static func + (a: Counters, b: Counters) -> Counters {
    Counters(
      promptTokens: a.promptTokens + b.promptTokens,
      outputTokens: a.outputTokens + b.outputTokens, steps: a.steps + b.steps,
      masks: a.masks + b.masks, maskTime: a.maskTime + b.maskTime,
      schedule: a.schedule + b.schedule)
  }
}
