import MLXArray
import VLLMSwiftCore
import VLLMSwiftFiles
import VLLMSwiftGrammar
import VLLMSwiftModels

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// The engine of a process: the thread that owns MLX, its models, and the events of their requests.
/// Every method may be called from any thread, and throws `forked` in a process that is not the one
/// that made it.
public final class Runtime: Sendable {
  private let mailbox = Mailbox()
  private let requests = RequestTable()
  private let counters = Monitor(Counters())
  private let models = Monitor<[ModelID: ModelSummary]>([:])
  let grammars = Monitor<[ModelID: GrammarStore]>([:])
  private let nextModel = Monitor<ModelID>(1)
  private let thread = Monitor<SystemThread?>(nil)
  private let process = getpid()

  /// - Parameter threads: of the CPU kernels; 0 is the machine's share.
  public init(threads: Int) throws {
    KernelPool.configure(threads: threads)
    let loop = EngineThreadBody(mailbox, requests, counters)
    let started = try SystemThread { loop.run() }
    thread.withLock { $0 = started }
  }

  public func checkProcess() throws {
    guard getpid() == process else {
      throw EngineError(
        .forked,
        "this engine was opened before the process forked, and its threads are not in the child: "
          + "open an engine in the child, or start it with the 'spawn' method")
    }
  }

  /// Cancels everything, unloads, and joins the thread. Does nothing the second time, or in a child.
  public func close() {
    guard getpid() == process else { return }
    mailbox.close()
    let running = thread.withLock { thread -> SystemThread? in
      defer { thread = nil }
      return thread
    }
    running?.join()
    models.withLock { $0 = [:] }
    grammars.withLock { $0 = [:] }
    requests.events.close()
  }
}

// MARK: - Models

extension Runtime {
  public func load(_ checkpoint: any Checkpoint, _ options: ModelOptions) throws -> ModelID {
    try checkProcess()
    let id = nextModel.withLock { next -> ModelID in
      defer { next += 1 }
      return next
    }
    let reply = Reply<ModelSummary>()
    try mailbox.post(.load(id, checkpoint, options, reply))
    let summary = try reply.wait()
    models.withLock { $0[id] = summary }
    return id
  }

  /// - Throws: `closed` if it was unloaded.
  public func summary(_ model: ModelID) throws -> ModelSummary {
    try checkProcess()
    return try models.withLock { models in
      guard let summary = models[model] else { throw EngineError(.closed, "the model is closed") }
      return summary
    }
  }

  /// Ends the model's requests and frees its memory before it returns.
  public func unload(_ model: ModelID) {
    guard getpid() == process else { return }
    guard models.withLock({ $0.removeValue(forKey: model) }) != nil else { return }
    grammars.withLock { $0[model] = nil }
    let reply = Reply<Void>()
    guard (try? mailbox.post(.unload(model, reply))) != nil else { return }
    try? reply.wait()
  }

  /// - Parameter destination: float32 [tokens, vocabulary].
  public func logits(
    _ model: ModelID, _ tokens: [Int32], into destination: UnsafeMutableBufferPointer<Float>
  ) throws {
    let limits = try summary(model).limits
    try limits.check(sequence: tokens)
    guard destination.count >= tokens.count * limits.vocabularySize else {
      throw EngineError(
        .invalidArgument,
        "room for \(destination.count) logits was given, and \(tokens.count) tokens have "
          + "\(tokens.count * limits.vocabularySize)")
    }
    let reply = Reply<Void>()
    let request = LogitsRequest(tokens: tokens, destination: destination)
    try mailbox.post(.logits(model, request, reply))
    try reply.wait()
  }

  /// Does something with a model on the engine's thread, between two steps, and waits.
  func visit<Result: Sendable>(
    _ model: ModelID, _ body: @escaping @Sendable (ModelRunner) throws -> Result
  ) throws -> Result {
    let reply = Reply<Result>()
    let visit: @Sendable (ModelRunner?) -> Void = { runner in
      reply.fulfill {
        guard let runner else { throw EngineError(.closed, "the model was closed") }
        return try body(runner)
      }
    }
    try post(to: model, visit)
    return try reply.wait()
  }

  /// The same without waiting; with nil if the model is closed.
  func post(to model: ModelID, _ visit: @escaping @Sendable (ModelRunner?) -> Void) throws {
    try checkProcess()
    try mailbox.post(.visit(model, visit))
  }
}

// MARK: - Requests

extension Runtime {
  /// What a caller asks for.
  public struct Prompt: Sendable {
    public var tokens: [Int32]
    public var sampling = SamplingParams()
    public var n = 1
    public var priority = 0
    /// From submission to the end of its last output.
    public var timeout: Duration?
    /// Of the same model.
    public var grammar: Grammar?

    public init(tokens: [Int32]) {
      self.tokens = tokens
    }
  }

  /// Queues all or none.
  public func submit(_ prompts: [Prompt], to model: ModelID) throws -> Range<RequestID> {
    let limits = try summary(model).limits
    let names = requests.names(prompts.count)
    let now = ContinuousClock.now
    let new = try zip(names, prompts).map { name, prompt in
      if limits.onlyPlainDraws, prompt.grammar != nil {
        throw RequestLimits.notOnGPU("structured_outputs")
      }
      return Submission(
        request: try Request(
          id: name, prompt: prompt.tokens, sampling: prompt.sampling, n: prompt.n,
          priority: prompt.priority, limits: limits),
        grammar: prompt.grammar, deadline: prompt.timeout.map { now + $0 })
    }
    requests.add(new.map(\.request), model: model)
    do {
      try mailbox.post(.submit(model, new))
    } catch {
      for name in names { _ = requests.release(name) }
      throw error
    }
    return names
  }

  public func cancel(_ request: RequestID) {
    guard getpid() == process else { return }
    try? mailbox.post(.cancel(request))
  }

  public func cancel(_ sequence: SequenceID) {
    guard getpid() == process else { return }
    try? mailbox.post(.cancelOne(sequence))
  }

  public func release(_ request: RequestID) {
    guard getpid() == process else { return }
    if requests.release(request) { cancel(request) }
  }

  public func info(_ request: RequestID) throws -> RequestInfo {
    try checkProcess()
    return try requests.info(request)
  }

  /// Waits for events and takes those that fit, oldest first.
  /// - Parameter microseconds: how long; nil is without end.
  public func poll(_ room: EventRoom, microseconds: Int64?) throws -> [Event] {
    try checkProcess()
    KernelPool.handsOut()
    return try requests.events.take(room, microseconds: microseconds)
  }

  public func wake() {
    guard getpid() == process else { return }
    requests.events.wake()
  }

  public func stats() throws
    -> (counters: Counters, latencies: Latencies<Histogram.Summary>, models: Int)
  {
    try checkProcess()
    return (counters.withLock { $0 }, requests.latencies, models.withLock { $0.count })
  }
}

// MARK: - The thread

/// The loop is made on the thread that runs it: MLX's streams belong to the thread that makes them.
private struct EngineThreadBody: Sendable {
  let mailbox: Mailbox
  let requests: RequestTable
  let counters: Monitor<Counters>

  init(_ mailbox: Mailbox, _ requests: RequestTable, _ counters: Monitor<Counters>) {
    (self.mailbox, self.requests, self.counters) = (mailbox, requests, counters)
  }

  func run() {
    KernelPool.handsOut()
    EngineLoop(mailbox, requests, counters).run()
    MLX.clearStreams()
  }
}
