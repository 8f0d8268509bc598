import MLXArray
import VLLMSwiftCore
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

  private let mailbox: Mailbox
  private let requests: RequestTable
  private let counters: Monitor<Counters>
  private let streams = Streams()
  private var runners: [ModelRunner] = []
  /// Of models that are unloaded.
  private var past = Counters()

  init(_ mailbox: Mailbox, _ requests: RequestTable, _ counters: Monitor<Counters>) {
    (self.mailbox, self.requests, self.counters) = (mailbox, requests, counters)
  }

  func run() {
    var (isIdle, rests) = (true, true)
    while let commands = mailbox.take(
      isIdle: isIdle, microseconds: rests ? nil : Self.microsecondsToRest)
    {
      rests = isIdle && commands.isEmpty
      if rests, !runners.isEmpty {
        for runner in runners { runner.rest() }
        Model.trimMemory()
      }
      for command in commands { handle(command) }
      for runner in runners where !runner.isIdle { runner.advance() }
      isIdle = runners.allSatisfy(\.isIdle)
      publish()
      if isIdle { requests.events.announce() }
    }
    for runner in runners { runner.close(EngineError(.closed, "the runtime was closed")) }
    runners = []
  }

  private func publish() {
    let now = runners.reduce(past) { $0 + $1.stats() }
    counters.withLock { $0 = now }
  }

  private func handle(_ command: Command) {
    switch command {
    case .load(let id, let checkpoint, let options, let reply):
      reply.fulfill {
        let model = try Model(checkpoint, options, on: streams)
        let stream = try streams.stream(model.device)
        runners.append(
          ModelRunner(id, model, on: stream, requests: requests) { [unowned self] in publish() })
        return ModelSummary(model)
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

  private static let closed = EngineError(.closed, "the model was closed")

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
