/// Who gets blocks, and who gives them up.
extension Scheduler {
  /// So many prompts run side by side even where one would fill the steps: a short one that waited
  /// in the queue behind a long one could not overtake it.
  private static let promptsAtOnce = 4

  private enum Answer {
    case admitted
    /// Not now, but those behind it may be.
    case passedOver
    /// Not before blocks are free, nor those behind it.
    case noRoom
  }

  /// Moves sequences from the queue to those that run, until these have enough prompt rows to fill
  /// the budget.
  func admit(for budget: StepBudget, in step: inout Step) {
    let prompts = running.filter { $0.wantsRows && !$0.continues }
    var (rows, count) = (prompts.reduce(0) { $0 + $1.rowsLeft }, prompts.count)
    var next = 0
    while next < waiting.count, running.count < limits.maxSequences, budget.rows > 0,
      rows < budget.rows || count < Self.promptsAtOnce
    {
      let sequence = waiting[next]
      switch admit(sequence, in: &step) {
      case .admitted:
        waiting.remove(at: next)
        (rows, count) = (rows + sequence.rowsLeft, count + 1)
      case .passedOver: next += 1
      case .noRoom: return
      }
    }
  }

  private func admit(_ sequence: Sequence, in step: inout Step) -> Answer {
    // A preempted one that may end with the token that is still being drawn.
    guard !sequence.awaitsToken else { return .passedOver }
    if let leader = sequence.leader {
      if leader.isAtWork { return .passedOver }
      sequence.leader = nil
    }
    if !sequence.isScored, let sibling = sibling(of: sequence) {
      return sibling.promptIsComputed ? fork(sibling, to: sequence, in: &step) : .passedOver
    }
    let match = cache.match(
      sequence.tokens, salt: sequence.request.salt, limit: sequence.blocksToFind)
    sequence.leader = leader(for: sequence, after: match)
    guard sequence.leader == nil else { return .passedOver }
    let new = BlockPool.blocks(for: sequence.tokens.count) - match.blocks.count
    guard hasRoom(for: new + cache.idleCount(match.blocks)) else { return .noRoom }
    cache.hold(match.blocks)
    sequence.start(from: match)
    run(sequence, cached: sequence.position, in: &step)
    return .admitted
  }

  private func run(_ sequence: Sequence, cached: Int, in step: inout Step) {
    sequence.state = .running
    insert(sequence, in: &running)
    guard sequence.id.index == 0, !sequence.wasStarted else { return }
    sequence.wasStarted = true
    step.starts.append(Start(request: sequence.id.request, cachedTokens: cached))
    counted.prefixQueries += sequence.request.prompt.count
    counted.prefixHits += cached
  }

  /// Whether blocks are left for a newcomer once the prompts that run have all of theirs, and the
  /// others one more each.
  private func hasRoom(for blocks: Int) -> Bool {
    guard !running.isEmpty else { return true }
    let promised = running.reduce(0) {
      $0 + max(1, BlockPool.blocks(for: $1.position + $1.rowsLeft) - $1.blocks.count)
    }
    return blocks + promised <= cache.available
  }

  // MARK: - Sharing

  /// The running sequence that computes next what this one would: their beginnings are the same, and
  /// all of it that is known so far is in the match.
  private func leader(
    for sequence: Sequence, after match: PrefixCache.Match
  ) -> Sequence.Leader? {
    for other in running where other.wantsRows && !other.decodes {
      guard other.registered == match.blocks.count, other.registeredEnd == match.end else {
        continue
      }
      let common = min(sequence.commonBlocks(with: other), sequence.blocksToFind)
      if common > match.blocks.count { return Sequence.Leader(sequence: other, blocks: common) }
    }
    return nil
  }

  /// A running sequence of the same request, for one that has no token of its own yet.
  private func sibling(of sequence: Sequence) -> Sequence? {
    guard sequence.request.n > 1, sequence.samplesIssued == 0 else { return nil }
    let siblings = running.filter { $0.id.request == sequence.id.request }
    return siblings.first { $0.promptIsComputed } ?? siblings.first
  }

  /// Starts a sequence from the prompt of another one of its request. The last row of the prompt is
  /// computed again, since each draws its own token from it, into a copy of the block that it is in.
  private func fork(_ source: Sequence, to sequence: Sequence, in step: inout Step) -> Answer {
    let last = sequence.request.prompt.count - 1
    let shared = last / kvBlockTokens
    guard hasRoom(for: 1), let copy = cache.take() else { return .noRoom }
    step.layout.copy(from: source.blocks[shared], to: copy)
    let blocks = Array(source.blocks[..<shared])
    cache.hold(blocks)
    sequence.blocks = blocks + [copy]
    sequence.position = last
    let known = cache.match(source.tokens, salt: source.request.salt, limit: shared)
    sequence.registered = shared
    sequence.registeredEnd = known.blocks.count == shared ? known.end : nil
    run(sequence, cached: 0, in: &step)
    return .admitted
  }

  // MARK: - Preemption

  /// Gives a sequence blocks for `rows` more rows, those of others if need be.
  /// - Returns: for how many rows it has blocks.
  func makeRoom(for sequence: Sequence, rows: Int, in step: Step) -> Int {
    let needed = BlockPool.blocks(for: sequence.position + rows)
    while sequence.blocks.count < needed {
      if let block = cache.take() {
        sequence.blocks.append(block)
      } else if let victim = running.last(where: {
        $0.lastStep != step.number && !$0.blocks.isEmpty
      }),
        sequence.precedes(victim)
      {
        preempt(victim)
      } else {
        break
      }
    }
    return sequence.blocks.count * kvBlockTokens - sequence.position
  }

  /// Puts a running sequence back into the queue. What it has drawn stays drawn.
  private func preempt(_ sequence: Sequence) {
    running.removeAll { $0 === sequence }
    giveUpBlocks(of: sequence)
    sequence.start(from: PrefixCache.Match(salt: sequence.request.salt))
    sequence.state = .waiting
    insert(sequence, in: &waiting)
    counted.preemptions += 1
  }
}
