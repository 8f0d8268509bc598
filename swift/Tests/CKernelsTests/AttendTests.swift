import CKernels
import MLXArray
import Testing

/// Attention's kernels: against the same op of stock MLX, and against themselves, bit for bit,
/// however a sequence is cut, batched and spread over threads.
@Suite(.serialized) struct AttendTests {
  private let stream: MLXStream

  init() throws {
    stream = try MLXStream(gpu: false)
  }

  private func expectClose(
    _ result: [Float], _ expected: [Float], _ what: String,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    var error = 0.0
    var size = 0.0
    for (a, b) in zip(result, expected) {
      error += Double(a - b) * Double(a - b)
      size += Double(b) * Double(b)
    }
    // Keys and values of 16 bits leave 2e-4, or 4e-4 at head size 512.
    #expect(
      result.count == expected.count && error <= size * 6e-4 * 6e-4,
      "\(what): relative error \((error / size).squareRoot())", sourceLocation: sourceLocation)
  }

  private func table(_ count: Int, of blocks: Int, _ numbers: inout Numbers) -> [Int32] {
    Array((0..<Int32(blocks)).shuffled(using: &numbers).prefix(count))
  }

  @Test(arguments: [
    AttentionShape(heads: 9, kvHeads: 3, headDim: 64),
    AttentionShape(heads: 4, kvHeads: 4, headDim: 80),
    AttentionShape(heads: 6, kvHeads: 3, headDim: 96),
    AttentionShape(heads: 8, kvHeads: 1, headDim: 128),
    AttentionShape(heads: 4, kvHeads: 2, headDim: 256),
    AttentionShape(heads: 5, kvHeads: 1, headDim: 72),
    AttentionShape(heads: 14, kvHeads: 2, headDim: 8),
    AttentionShape(heads: 7, kvHeads: 1, headDim: 64, window: 1),
    AttentionShape(heads: 6, kvHeads: 2, headDim: 64, window: 100),
    AttentionShape(heads: 4, kvHeads: 2, headDim: 64, window: 300, softCap: 20),
    AttentionShape(heads: 6, kvHeads: 2, headDim: 64, softCap: 5),
  ])
  func kernelsMatchTheReference(_ shape: AttentionShape) throws {
    var numbers = Numbers(state: 1)
    // Past the first span of 256 keys; the last block has one token.
    let rows = 545
    let sequence = numbers.floats(rows * shape.columns, in: -2...2)
    let expected = try attendReference(shape, sequence, on: stream)
    for isa in instructionSets {
      let plan = try AttendPlan(shape, isa, blocks: 40, maxRows: rows)
      let blocks = table(18, of: 40, &numbers)
      let result = try plan.run(sequence, blocks: blocks, chunks: [rows], on: stream)
      expectClose(result, expected, "\(isa), \(shape)")
    }
  }

  @Test(arguments: 0..<24)
  func kernelsMatchTheReferenceOnRandomShapes(_ seed: UInt64) throws {
    var numbers = Numbers(state: seed)
    let kvHeads = Int.random(in: 1...3, using: &numbers)
    let shape = AttentionShape(
      heads: kvHeads * Int.random(in: 1...8, using: &numbers), kvHeads: kvHeads,
      headDim: 8 * Int.random(in: 1...20, using: &numbers),
      window: Bool.random(using: &numbers) ? 0 : Int.random(in: 1...200, using: &numbers),
      softCap: Bool.random(using: &numbers) ? 0 : Float.random(in: 1...50, using: &numbers))
    let rows = Int.random(in: 1...320, using: &numbers)
    let sequence = numbers.floats(rows * shape.columns, in: -3...3)
    let expected = try attendReference(shape, sequence, on: stream)
    for isa in instructionSets {
      let plan = try AttendPlan(shape, isa, blocks: 12, maxRows: rows)
      let result = try plan.run(
        sequence, blocks: table(10, of: 12, &numbers), chunks: [rows], on: stream)
      expectClose(result, expected, "\(isa), \(rows) rows of \(shape)")
    }
  }

  @Test(arguments: [
    AttentionShape(heads: 9, kvHeads: 3, headDim: 64),
    AttentionShape(heads: 4, kvHeads: 4, headDim: 80),
    AttentionShape(heads: 8, kvHeads: 1, headDim: 128, window: 70, softCap: 30),
  ])
  func bitsDoNotDependOnChunksNeighboursBlocksOrThreads(_ shape: AttentionShape) throws {
    defer { ck_pool_configure(0) }
    var numbers = Numbers(state: 2)
    let rows = 600
    let sequence = numbers.floats(rows * shape.columns, in: -2...2)
    let other = numbers.floats(300 * shape.columns, in: -2...2)
    for isa in instructionSets {
      let plan = try AttendPlan(shape, isa, blocks: 64, maxRows: rows)
      let shuffled = table(64, of: 64, &numbers)
      let blocks = Array(shuffled[0..<19])
      let whole = try plan.run(sequence, blocks: blocks, chunks: [rows], on: stream)
      let chunks = [1, 31, 1, 130, 93, 1, 255, 88]
      let cut = try plan.run(
        sequence, blocks: Array(shuffled[19..<38]), chunks: chunks, on: stream)
      #expect(cut == whole, "\(isa), \(shape), in chunks")

      for threads: Int32 in [1, 2, 3] {
        ck_pool_configure(threads)
        let ours = Chunk(blocks: blocks, position: 500, rows: 60)
        let last = Chunk(blocks: blocks, position: 560, rows: 1)
        let theirs = Chunk(blocks: Array(shuffled[38..<48]), position: 0, rows: 300)
        let mixed = try plan.step([(theirs, other), (ours, sequence)], on: stream)[1]
        let expected = whole[500 * shape.outputs..<560 * shape.outputs]
        #expect(mixed == Array(expected), "\(isa), \(shape), with a neighbour, \(threads) threads")
        let next = Chunk(blocks: theirs.blocks, position: 299, rows: 1)
        let decoded = try plan.step([(last, sequence), (next, other)], on: stream)[0]
        #expect(
          decoded == Array(whole[560 * shape.outputs..<561 * shape.outputs]),
          "\(isa), \(shape), decoded with a neighbour, \(threads) threads")
      }
    }
  }

  @Test func sequencesShareTheBlocksOfAPrefix() throws {
    let shape = AttentionShape(heads: 4, kvHeads: 2, headDim: 64)
    var numbers = Numbers(state: 3)
    let prefix = numbers.floats(64 * shape.columns)
    let first = prefix + numbers.floats(5 * shape.columns)
    let second = prefix + numbers.floats(9 * shape.columns)
    for isa in instructionSets {
      let plan = try AttendPlan(shape, isa, blocks: 8, maxRows: 80)
      let alone = try plan.run(second, blocks: [5, 6, 7], chunks: [73], on: stream)
      _ = try plan.run(first, blocks: [0, 1, 2], chunks: [64], on: stream)
      let both = try plan.step(
        [
          (Chunk(blocks: [0, 1, 2], position: 64, rows: 5), first),
          (Chunk(blocks: [0, 1, 3], position: 64, rows: 9), second),
        ], on: stream)
      let expected = alone.suffix(9 * shape.outputs)
      #expect(both[1] == Array(expected))
    }
  }

  @Test func keysAndValuesBeyondTheRangeOfFloat16AreHeld() throws {
    let shape = AttentionShape(heads: 2, kvHeads: 1, headDim: 64)
    var numbers = Numbers(state: 4)
    var sequence = numbers.floats(40 * shape.columns)
    for row in 0..<40 {
      let k = row * shape.columns + 2 * shape.headDim
      for i in k..<k + shape.headDim { sequence[i] *= 1e6 }
      for i in k - 2 * shape.headDim..<k { sequence[i] *= 1e-6 }
      for i in k + shape.headDim..<k + 2 * shape.headDim { sequence[i] *= 1e9 }
    }
    let expected = try attendReference(shape, sequence, on: stream)
    for isa in instructionSets {
      let plan = try AttendPlan(shape, isa, blocks: 2, maxRows: 40)
      let result = try plan.run(sequence, blocks: [0, 1], chunks: [40], on: stream)
      expectClose(result, expected, "\(isa)")
    }
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func whatIsNotFiniteShowsInTheRowsThatSeeItAlone(_ value: Float) throws {
    let shape = AttentionShape(heads: 2, kvHeads: 2, headDim: 16)
    var numbers = Numbers(state: 5)
    var sequence = numbers.floats(40 * shape.columns)
    for isa in instructionSets {
      let plan = try AttendPlan(shape, isa, blocks: 4, maxRows: 40)
      let clean = try plan.run(sequence, blocks: [0, 1], chunks: [40], on: stream)
      for column in [2 * shape.headDim + 3, 4 * shape.headDim + 3] {  // of a key, of a value
        let at = 35 * shape.columns + column
        let kept = sequence[at]
        defer { sequence[at] = kept }
        sequence[at] = value
        let result = try plan.run(sequence, blocks: [0, 1], chunks: [40], on: stream)
        let seen = 35 * shape.outputs
        #expect(result[..<seen] == clean[..<seen])
        for row in 35..<40 {
          let first = row * shape.outputs
          #expect(result[first..<first + shape.headDim].allSatisfy { $0.isNaN })
          let second = first + shape.headDim..<first + 2 * shape.headDim
          #expect(result[second] == clean[second])
        }
      }
      // The blocks are clean again once they are written anew.
      #expect(try plan.run(sequence, blocks: [0, 1], chunks: [40], on: stream) == clean)
    }
  }

  @Test func rowsOfZerosAreTheMeanOfTheValues() throws {
    let shape = AttentionShape(heads: 1, kvHeads: 1, headDim: 8)
    var sequence = [Float](repeating: 0, count: 3 * shape.columns)
    for i in 0..<8 { sequence[2 * shape.columns + 16 + i] = 3 }
    for isa in instructionSets {
      let plan = try AttendPlan(shape, isa, blocks: 1, maxRows: 3)
      let result = try plan.run(sequence, blocks: [0], chunks: [3], on: stream)
      #expect(result[..<16].allSatisfy { $0 == 0 })
      #expect(result[16...].allSatisfy { abs($0 - 1) < 1e-4 })
    }
  }
}
