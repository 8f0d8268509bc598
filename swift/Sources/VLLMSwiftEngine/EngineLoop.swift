import MLXArray
import VLLMSwiftCore
import VLLMSwiftFiles
import VLLMSwiftModels

/// What a caller learns of a model that was loaded.
public struct ModelSummary: Sendable {
  public let limits: RequestLimits
  public let hiddenSize: Int
  public let device: ModelOptions.Device
  public let kernels: ModelOptions.Kernels
  public let kernelsNote: String
  public let weightBytes: Int
  public let cacheBytes: Int
  public let cacheBlocks: Int

  init(_ model: Model) {
    limits = model.limits
    hiddenSize = model.hiddenSize
    device = model.device
    kernels = model.kernels
    kernelsNote = model.kernelsNote
    weightBytes = model.executor.weightBytes
    cacheBytes = model.executor.bytesPerBlock * model.cacheBlocks
    cacheBlocks = model.cacheBlocks
  }
}

/// The body of the one thread that owns MLX: takes commands, and gives each model a step in turn.
final class EngineLoop {
  /// Without work for so long, memory that only steps use is given back. Taking it again costs more
  /// than a short request.
  private static let microsecondsToRest: Int64 = 1_000_000
  /// So many bytes of weights are loaded in about the time of a step.
  private static let bytesWithoutPause = 16 << 20

  private let mailbox: Mailbox
  private let requests: RequestTable
  private let counters: Monitor<Counters>
  private let streams = Streams()
  private var runners: [ModelRunner] = []
  /// What takes longer than a step may wait: one after the other, in parts, with a turn after each.
  private var jobs: [() -> Void] = []
  private var isIdle = true
  /// Whether what only steps use was given back.
  private var rests = true
  /// Of models that are unloaded.
  private var past = Counters()

  init(_ mailbox: Mailbox, _ requests: RequestTable, _ counters: Monitor<Counters>) {
    (self.mailbox, self.requests, self.counters) = (mailbox, requests, counters)
  }

  func run() {
    while turn(mayWait: isIdle) {
      // Not by the turn: commands that came before a job would be done after some that came later.
      while !jobs.isEmpty { jobs.removeFirst()() }
    }
    for runner in runners { runner.close(Self.runtimeClosed) }
    runners = []
  }

  /// Takes the commands there are, and gives each model a step.
  /// - Returns: false once the mailbox is closed and empty.
  private func turn(mayWait: Bool) -> Bool {
    guard
      let commands = mailbox.take(
        isIdle: mayWait, microseconds: rests ? nil : Self.microsecondsToRest)
    else { return false }
    rests = mayWait && commands.isEmpty
    if rests, !runners.isEmpty {
      for runner in runners { runner.rest() }
      Model.trimMemory()
    }
    for command in commands { handle(command) }
    for runner in runners where !runner.isIdle { runner.advance() }
    isIdle = runners.allSatisfy(\.isIdle)
    publish()
    if isIdle { requests.events.announce() }
    return true
  }

  /// Between two parts of a job.
  /// - Throws: `closed`
  private func pause() throws {
    guard turn(mayWait: false) else { throw Self.runtimeClosed }
  }

  private func publish() {
    let now = runners.reduce(past) { $0 + $1.stats() }
    counters.withLock { $0 = now }
  }

  private func handle(_ command: Command) {
    switch command {
    case .load(let id, let checkpoint, let options, let reply):
      jobs.append { [unowned self] in
        reply.fulfill { try load(id, checkpoint, options) }
      }
    case .logits(let id, let request, let reply):
      jobs.append { [unowned self] in
        reply.fulfill { try computeLogits(request, of: id) }
      }
    case .unload(let id, let reply):
      reply.fulfill { unload(id) }
    case .submit(let id, let new):
      if let runner = runner(id) {
        runner.submit(new)
      } else {
        for one in new { requests.end(one.request.id, .error, error: Self.closed) }
      }
    case .cancel(let request):
      for runner in runners { runner.cancel(request) }
    case .cancelOne(let sequence):
      for runner in runners { runner.cancel(sequence) }
    case .visit(let id, let body):
      body(runner(id))
    }
  }

  private func load(_ id: ModelID, _ checkpoint: any Checkpoint, _ options: ModelOptions) throws
    -> ModelSummary
  {
    var read = 0
    let model = try Model(checkpoint, options, on: streams) { bytes in
      read += bytes
      guard read >= Self.bytesWithoutPause else { return }
      read = 0
      try self.pause()
    }
    let stream = try streams.stream(model.device)
    runners.append(
      ModelRunner(id, model, on: stream, requests: requests) { [unowned self] in publish() })
    publish()
    return ModelSummary(model)
  }

  private func computeLogits(_ request: LogitsRequest, of id: ModelID) throws {
    var done = 0
    while true {
      // The model is held no longer: it may be unloaded in the pause.
      guard let runner = runner(id) else { throw Self.closed }
      done = try runner.logits(request, from: done)
      if done == request.tokens.count { return publish() }
      try pause()
    }
  }

  private static let closed = EngineError(.closed, "the model was closed")
  private static let runtimeClosed = EngineError(.closed, "the runtime was closed")

  private func runner(_ id: ModelID) -> ModelRunner? {
    runners.first { $0.id == id }
  }

  private func unload(_ id: ModelID) {
    guard let index = runners.firstIndex(where: { $0.id == id }) else { return }
    runners[index].close(Self.closed)
    past = past + runners[index].past()
    runners.remove(at: index)
  }
}
