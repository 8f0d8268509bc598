/// What a step may still take.
struct StepBudget {
  var rows: Int
  /// In the unit of `StepCost`.
  var cost: Double

  /// The most rows from `position` on that it pays for: one at least while it has not been used up.
  func affords(at position: Int, _ cost: StepCost) -> Int {
    guard rows > 0, self.cost > 0 else { return 0 }
    return min(rows, max(1, cost.rows(within: self.cost, at: position)))
  }

  mutating func pay(_ count: Int, at position: Int, _ cost: StepCost) {
    rows -= count
    self.cost -= cost.rows(count, at: position)
  }

  mutating func pay(_ slice: Slice, _ cost: StepCost) {
    rows -= slice.rows
    self.cost -=
      cost.rows(slice.rows, at: slice.position) * Double(slice.layers.count) / Double(cost.layers)
  }
}

extension Scheduler {
  /// How many rows of work beside the requests, from `position` on, take no longer than those of a
  /// prompt would: `maxScoredRows` at most, since each has logits.
  public func rowsBesideRequests(at position: Int) -> Int {
    guard !running.isEmpty else { return Self.maxScoredRows }
    let count = running.count
    let cost = limits.cost.ofPrompts(
      beside: count, costing: limits.cost.fixed + Double(count))
    return min(Self.maxScoredRows, max(1, limits.cost.rows(within: cost, at: position)))
  }

  /// What is left for prompts beside the decoding rows of a step.
  func promptBudget(beside step: Step) -> StepBudget {
    let rows = limits.maxRows - step.layout.tokens.count
    guard !step.members.isEmpty else {
      return StepBudget(rows: rows, cost: .greatestFiniteMagnitude)
    }
    let decoding = step.layout.sequences.reduce(limits.cost.fixed) {
      $0 + limits.cost.rows($1.rows.count, at: $1.position)
    }
    return StepBudget(
      rows: rows, cost: limits.cost.ofPrompts(beside: step.members.count, costing: decoding))
  }

  /// Adds rows of tokens that came with draws, one at least for each such sequence, and more of them
  /// as far as a step beside decoding rows may go.
  /// - Returns: what is left for prompts.
  func issueRuns(in step: inout Step) -> StepBudget {
    let runs = running.filter { $0.wantsRows && $0.continues && !$0.decodes }
    var budget = promptBudget(beside: step)
    let alone = step.members.isEmpty
    for (index, sequence) in runs.enumerated() {
      let position = sequence.position
      let most = min(
        budget.affords(at: position, limits.cost), budget.rows - (runs.count - index - 1))
      let issued = issue(sequence, rows: max(1, min(sequence.rowsLeft, most)), in: &step)
      budget.pay(issued, at: position, limits.cost)
    }
    return alone ? promptBudget(beside: step) : budget
  }

  /// Of equal priority, the prompt with the least left comes first, so that a short one need not wait
  /// for a long one; and a quarter of the budget is the oldest one's, so that none waits for ever.
  func issuePrompts(within budget: StepBudget, in step: inout Step) {
    // Also what a preempted sequence has left to compute, however little.
    let prompts = running.filter { $0.wantsRows && $0.lastStep != step.number }
    guard let oldest = prompts.first else { return }
    var budget = budget
    var reserved = StepBudget(rows: budget.rows / 4, cost: budget.cost / 4)
    var slice: Slice?
    let shortestFirst = prompts.sorted {
      ($0.request.priority, $0.rowsLeft, $0.arrival) < (
        $1.request.priority, $1.rowsLeft, $1.arrival
      )
    }
    for sequence in shortestFirst {
      if sequence === oldest { reserved = StepBudget(rows: 0, cost: 0) }
      // Rows on their way are so many in each step that takes them on.
      let held = slice == nil && sequence !== passage?.sequence ? passage?.rows ?? 0 : 0
      let open = StepBudget(
        rows: budget.rows - max(reserved.rows, held), cost: budget.cost - reserved.cost)
      let least = sequence === oldest ? 1 : 0
      if let next = nextSlice(of: sequence, within: open, after: slice, least: least, in: step) {
        slice = next
        budget.pay(next, limits.cost)
      } else if sequence !== passage?.sequence {
        let rows = min(sequence.rowsLeft, open.affords(at: sequence.position, limits.cost))
        let position = sequence.position
        let issued = issue(sequence, rows: rows, in: &step)
        budget.pay(issued, at: position, limits.cost)
      }
    }
    if let slice { issue(slice, in: &step) }
  }

  /// Adds rows of a sequence to a step, as many of them as it gets blocks for.
  /// - Returns: how many.
  @discardableResult
  func issue(_ sequence: Sequence, rows: Int, in step: inout Step) -> Int {
    let scored = step.samples.count { $0.known != nil }
    let wanted = sequence.isScored ? min(rows, Self.maxScoredRows - scored) : rows
    guard wanted > 0, sequence.wantsRows else { return 0 }
    let rows = min(wanted, makeRoom(for: sequence, rows: wanted, in: step))
    guard rows > 0 else { return 0 }
    let samples = rows == sequence.rowsLeft
    let known = sequence.score(rows)
    step.layout.append(
      sequence.nextTokens(rows), position: sequence.position, blocks: sequence.blocks,
      logits: known.count + (samples ? 1 : 0))
    step.samples += known
    step.sampled += known.map { _ in sequence }
    if !sequence.continues { step.promptTokens += rows }
    sequence.position += rows
    sequence.lastStep = step.number
    step.members.append(sequence)
    if samples {
      step.samples.append(sequence.draw(as: step.samples.count))
      step.sampled.append(sequence)
    }
    return rows
  }
}
