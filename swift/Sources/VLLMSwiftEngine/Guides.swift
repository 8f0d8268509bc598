import VLLMSwiftCore
import VLLMSwiftGrammar
import VLLMSwiftModels

/// The grammars of a model's requests, and how far each of their outputs is in its own.
final class Guides {
  struct Failure {
    let request: RequestID
    let error: EngineError
  }

  private struct Entry {
    let grammar: Grammar
    /// Logprobs are of drawn tokens, and bans hold in draws, so these requests draw forced ones too.
    let forces: Bool
    /// The way to the end knows of no bans.
    let closes: Bool
    var ofOutput: [Int: Guide] = [:]
  }

  private var entries: [RequestID: Entry] = [:]

  func add(_ request: Request, _ grammar: Grammar?) {
    guard let grammar else { return }
    let sampling = request.sampling
    let bans = !sampling.badWords.isEmpty || !sampling.allowedTokenIDs.isEmpty
    entries[request.id] = Entry(
      grammar: grammar, forces: sampling.logprobs == nil && !bans, closes: !bans)
  }

  /// Steps in flight ask no more for it.
  func remove(_ request: RequestID) {
    entries[request] = nil
  }

  func removeAll() {
    entries = [:]
  }

  /// Whether a step draws for a grammar, so that its tokens decide the rows of the next.
  func hold(any samples: [Scheduler.Sample]) -> Bool {
    !entries.isEmpty && samples.contains { isHeld($0) }
  }

  private func isHeld(_ sample: Scheduler.Sample) -> Bool {
    sample.known == nil && entries[sample.sequence.request] != nil
  }

  /// The masks of a step's samples, by their index.
  func masks(for samples: [Scheduler.Sample]) -> (masks: [Int: [UInt32]], failures: [Failure]) {
    var (masks, failures): ([Int: [UInt32]], [Failure]) = ([:], [])
    for (index, sample) in samples.enumerated() where isHeld(sample) {
      do {
        masks[index] = try guide(of: sample.sequence)?.mask()
      } catch {
        failures.append(Failure(sample.sequence.request, error))
      }
    }
    return (masks, failures)
  }

  /// What a step's tokens are to their sequences.
  func draws(
    _ tokens: [Int32], of samples: [Scheduler.Sample]
  ) -> (draws: [Scheduler.Draw], failures: [Failure]) {
    var failures: [Failure] = []
    let draws = zip(tokens, samples).map { token, sample in
      do {
        return try draw(token, of: sample)
      } catch {
        failures.append(Failure(sample.sequence.request, error))
        return Scheduler.Draw([])
      }
    }
    return (draws, failures)
  }

  private func draw(_ token: Int32, of sample: Scheduler.Sample) throws -> Scheduler.Draw {
    guard isHeld(sample), let guide = guide(of: sample.sequence) else {
      return Scheduler.Draw([token])
    }
    guard !StepResult.leavesNothing(token) else {
      throw EngineError(
        .invalidGrammar,
        "the grammar and allowed_token_ids, bad_words or min_tokens leave no token to draw")
    }
    guard token >= 0, !sample.sampling.stopTokenIDs.contains(token) else {
      return Scheduler.Draw([token])
    }
    return try guide.accept(token, room: sample.sampling.maxTokens - sample.index - 1)
  }

  private func guide(of sequence: SequenceID) -> Guide? {
    guard let entry = entries[sequence.request] else { return nil }
    if let guide = entry.ofOutput[sequence.index] { return guide }
    let guide = Guide(entry.grammar, forces: entry.forces, closes: entry.closes)
    entries[sequence.request]?.ofOutput[sequence.index] = guide
    return guide
  }
}

extension Guides.Failure {
  fileprivate init(_ request: RequestID, _ error: any Error) {
    self.init(
      request: request, error: error as? EngineError ?? EngineError(.internal, "\(error)"))
  }
}
