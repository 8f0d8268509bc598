import VLLMSwiftCore
import VLLMSwiftFiles
import VLLMSwiftGrammar
import VLLMSwiftModels

public typealias ModelID = UInt64

/// What other threads ask of the engine's thread.
enum Command: Sendable {
  case load(ModelID, any Checkpoint, ModelOptions, Reply<ModelSummary>)
  case unload(ModelID, Reply<Void>)
  case submit(ModelID, [Submission])
  case cancel(RequestID)
  case cancelOne(SequenceID)
  /// Something to do with a model between two steps; nil if it is closed.
  case visit(ModelID, @Sendable (ModelRunner?) -> Void)
  case logits(ModelID, LogitsRequest, Reply<Void>)
}

/// A request, what its outputs are held to, and when it has to have ended.
struct Submission: Sendable {
  let request: Request
  let grammar: Grammar?
  let deadline: ContinuousClock.Instant?
}

/// A result that one thread leaves and another waits for.
final class Reply<Value: Sendable>: Sendable {
  private let result = Monitor<Result<Value, any Error>?>(nil)

  /// Leaves what `body` returns or throws.
  func fulfill(_ body: () throws -> Value) {
    let value = Result { try body() }
    result.update { $0 = value }
  }

  func wait() throws -> Value {
    guard let value = result.wait({ $0 }) else {
      throw EngineError(.internal, "a reply without end ended")
    }
    return try value.get()
  }
}

/// The commands not yet taken, and whether the engine is to end.
final class Mailbox: Sendable {
  private struct State {
    var commands: [Command] = []
    var closed = false
  }

  private let state = Monitor(State())

  /// - Throws: `closed`.
  func post(_ command: Command) throws {
    try state.update { state in
      guard !state.closed else { throw EngineError(.closed, "the runtime is closed") }
      state.commands.append(command)
    }
  }

  func close() {
    state.update { $0.closed = true }
  }

  /// All commands, oldest first; waits for one if `isIdle`. Nil once closed and empty.
  /// - Parameter microseconds: the longest wait; nil is without end.
  func take(isIdle: Bool, microseconds: Int64?) -> [Command]? {
    let taken = state.wait(microseconds: microseconds) { state -> [Command]?? in
      if !state.commands.isEmpty || !isIdle {
        if state.closed, state.commands.isEmpty { return .some(nil) }
        defer { state.commands = [] }
        return state.commands
      }
      return state.closed ? .some(nil) : nil
    }
    return taken ?? []
  }
}
