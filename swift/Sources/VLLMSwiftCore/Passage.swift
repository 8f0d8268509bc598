/// Rows of a prompt on their way through the layers, some of these each step: layered prefill (Lee et
/// al., 2025, arXiv:2510.08055). Beside decoding sequences a step has room for few rows through all
/// layers, and few cost more each than many.
struct Passage {
  let sequence: Sequence
  /// From the sequence's position on. It has the blocks for them.
  let rows: Int
  /// Layers that they have passed through.
  var layer = 0
}

/// What a step does of a passage.
struct Slice {
  let rows: Int
  let position: Int
  let layers: Range<Int>
}

extension Scheduler {
  /// The next slice of a sequence's passage, which is begun where rows through all layers would be
  /// few, and takes the place of a less urgent one; nil where there is none.
  /// - Parameter taken: the step's slice, of which it has one.
  /// - Parameter least: layers of it, whatever they cost.
  func nextSlice(
    of sequence: Sequence, within budget: StepBudget, after taken: Slice?, least: Int,
    in step: Step
  ) -> Slice? {
    guard taken == nil, budget.cost > 0, sequence.wantsRows else { return nil }
    let other = passage?.sequence.request.priority
    if other.map({ sequence.request.priority < $0 }) ?? true {
      passage = begin(sequence, within: budget, in: step) ?? passage
    }
    guard let passage, passage.sequence === sequence else { return nil }
    guard passage.rows <= budget.rows else {
      self.passage = nil
      return nil
    }
    let count = max(
      least,
      limits.cost.layers(within: budget.cost, for: passage.rows, at: sequence.position))
    guard count > 0 else { return nil }
    let end = min(passage.layer + count, limits.cost.layers)
    sequence.lastStep = step.number
    return Slice(
      rows: passage.rows, position: sequence.position, layers: passage.layer..<end)
  }

  private func begin(
    _ sequence: Sequence, within budget: StepBudget, in step: Step
  ) -> Passage? {
    let cost = limits.cost
    let whole = budget.affords(at: sequence.position, cost)
    // Rows that want logprobs are as many as a step may score.
    guard cost.layers > 1, whole < min(sequence.rowsLeft, StepCost.wide), !sequence.isScored
    else { return nil }
    let wide = cost.wideRows(within: budget.cost, at: sequence.position)
    // Half of a step's rows, since more sequences may decode in later steps.
    let wanted = min(wide, sequence.rowsLeft, budget.rows / 2)
    let rows = min(wanted, makeRoom(for: sequence, rows: wanted, in: step))
    return rows > whole ? Passage(sequence: sequence, rows: rows) : nil
  }

  /// Adds a slice of the passage to a step, after all other rows.
  func issue(_ slice: Slice, in step: inout Step) {
    guard let passage else { return }
    if slice.layers.upperBound == limits.cost.layers {
      self.passage = nil
      issue(passage.sequence, rows: passage.rows, in: &step)
    } else {
      self.passage?.layer = slice.layers.upperBound
      step.layout.append(
        passage.sequence.nextTokens(passage.rows), position: slice.position,
        blocks: passage.sequence.blocks, logits: 0)
      step.members.append(passage.sequence)
    }
    if slice.layers.count < limits.cost.layers { step.layout.pass(through: slice.layers) }
  }
}
