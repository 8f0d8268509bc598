import CKernels
import MLXArray
import Testing

/// Every kernel of the ops with a matrix against the same op of stock MLX.
@Suite struct LinearTests {
  private let stream: MLXStream

  init() throws {
    stream = try MLXStream(gpu: false)
  }

  private func array(_ values: [Float], _ columns: Int) throws -> MLXArray {
    try values.withUnsafeBytes {
      try MLXArray(bytes: $0, shape: [values.count / columns, columns], dtype: .float32)
    }
  }

  private func vector(_ values: [Float]) throws -> MLXArray {
    try values.withUnsafeBytes {
      try MLXArray(bytes: $0, shape: [values.count], dtype: .float32)
    }
  }

  /// Rows that int8 with a scale per 16 columns holds exactly, also after a norm or a gate, and
  /// bfloat16 too: so that kernels and reference differ by float rounding alone, and any slip of an
  /// integer shows.
  private func exactInputs(
    _ op: LinearOp, rows: Int, columns: Int, _ numbers: inout Numbers
  ) -> (x: [Float], norm: [Float]) {
    func integers(_ count: Int) -> [Float] {
      (0..<count).map { $0 % 16 == 0 ? 127 : Float(Int.random(in: -127...127, using: &numbers)) }
    }
    let norm = integers(columns)
    var x: [Float] = []
    for _ in 0..<rows {
      // A power of two, so large that it is its own gate and the norm's epsilon is nothing.
      let size = Float(32 << Int.random(in: 0...3, using: &numbers))
      switch op {
      case .linear, .linearWithResidual:
        x += integers(columns).map { $0 * size }
      case .normLinear, .logits:
        x += (0..<columns).map { _ in Bool.random(using: &numbers) ? size : -size }
      case .gatedLinear:
        x += [Float](repeating: size, count: columns) + integers(columns)
      }
    }
    return (x, norm)
  }

  private func check(
    _ op: LinearOp, _ format: WeightFormat, rows: Int, columns: Int, outputs: Int,
    seed: UInt64
  ) throws {
    var numbers = Numbers(state: seed)
    let matrix = WeightMatrix(format, rows: outputs, columns: columns, &numbers)
    let residual = WeightMatrix(format, rows: outputs, columns: columns, shuffled: true, &numbers)
    let (x, norm) = exactInputs(op, rows: rows, columns: columns, &numbers)
    let logitRows = (0..<Int32(rows)).filter { $0 % 3 != 1 }
    let expected = try op.reference(
      try array(x, op.inputColumns(columns)), try matrix.reference(),
      residual: try residual.reference(), norm: try vector(norm), logitRows: logitRows,
      on: stream)
    for isa in instructionSets {
      let packed = try PackedMatrix([matrix], isa)
      let added = try PackedMatrix([residual], isa)
      let plan = try OpPlan(
        isa, columns: op.inputColumns(columns), maxRows: rows, keeping: [packed, added]
      ) { try op.record($0, $1, packed, residual: added, norm: norm) }
      let result = try plan.run(
        rows: rows, inputs: x, logitRows: op == .logits ? logitRows : [], on: stream)
      try #require(result.count == expected.count)
      let largest = expected.reduce(1) { max($0, abs($1)) }
      let worst = zip(result, expected).map { abs($0 - $1) }.max() ?? 0
      #expect(
        worst <= 3e-5 * largest,
        "\(op), \(format), \(rows) x \(columns) x \(outputs), instruction set \(isa.rawValue)")
    }
  }

  @Test(arguments: LinearOp.allCases)
  func equalsTheReferenceInEveryFormat(_ op: LinearOp) throws {
    for (i, format) in WeightFormat.all.enumerated() {
      try check(op, format, rows: 5, columns: 256, outputs: 48, seed: UInt64(i))
    }
  }

  @Test(arguments: [1, 2, 3, 4, 7, 8, 9, 16, 31, 64])
  func equalsTheReferenceForRows(_ rows: Int) throws {
    for op in LinearOp.allCases {
      for format in [WeightFormat.q41, .q80, .affine(3, 64), .affine(6, 32), .bfloat16] {
        try check(op, format, rows: rows, columns: 192, outputs: 32, seed: UInt64(rows))
      }
    }
  }

  @Test(arguments: 0..<40)
  func equalsTheReferenceForRandomShapes(_ seed: Int) throws {
    var numbers = Numbers(state: UInt64(seed) &* 7919)
    let format = WeightFormat.all.randomElement(using: &numbers) ?? .q41
    let op = LinearOp.allCases.randomElement(using: &numbers) ?? .linear
    let unit = format.isFloat ? 1 : format.groupSize
    try check(
      op, format, rows: Int.random(in: 1...64, using: &numbers),
      columns: unit * Int.random(in: 1...(format.isFloat ? 300 : 9), using: &numbers),
      outputs: Int.random(in: 1...70, using: &numbers), seed: UInt64(seed))
  }

  @Test func embeddingsAreTheTablesRowsExactly() throws {
    for (i, format) in WeightFormat.all.enumerated() {
      var numbers = Numbers(state: UInt64(i))
      let table = WeightMatrix(format, rows: 37, columns: 256, &numbers)
      let tokens: [Int32] = [36, 0, 17, 17, 5, 31, 32]
      let reference = try table.reference()
      let ids = try tokens.withUnsafeBytes {
        try MLXArray(bytes: $0, shape: [tokens.count], dtype: .int32)
      }
      let expected = try stream.withHandle { s in
        try ids.withHandle { ids in
          try reference.withHandle { table in
            var table = table
            return try MLXArray { ck_ref_embed(s, ids, &table, $0, $1) }
          }
        }
      }.elements(of: Float.self, on: stream)
      for isa in instructionSets {
        let packed = try PackedMatrix([table], isa)
        let plan = try OpPlan(isa, columns: 0, maxRows: 8, keeping: [packed]) { plan, _ in
          var out: ck_rows = -1
          try checkMLX { ck_plan_embed(plan, packed.handle, &out, $0) }
        }
        let result = try plan.run(rows: tokens.count, tokens: tokens, on: stream)
        // MLX may or may not fuse the multiplication with the addition.
        let worst = zip(result, expected).map { abs($0 - $1) }.max() ?? 1
        #expect(worst <= 1e-6, "\(format)")
      }
    }
  }

  @Test func partsOfSeveralFormatsLieSideBySide() throws {
    var numbers = Numbers(state: 4)
    let columns = 128
    let parts = [
      WeightMatrix(.q41, rows: 40, columns: columns, shuffled: true, &numbers),
      WeightMatrix(.q41, rows: 7, columns: columns, &numbers),
      WeightMatrix(.q80, rows: 21, columns: columns, shuffled: true, &numbers),
      WeightMatrix(.bfloat16, rows: 5, columns: columns, &numbers),
    ]
    let (x, norm) = exactInputs(.normLinear, rows: 3, columns: columns, &numbers)
    let input = try array(x, columns)
    let weight = try vector(norm)
    let references = try parts.map { part in
      try LinearOp.normLinear.reference(
        input, try part.reference(), residual: try part.reference(), norm: weight, logitRows: [],
        on: stream)
    }
    let expected = (0..<3).flatMap { row in
      zip(parts, references).flatMap { $1[row * $0.rows..<(row + 1) * $0.rows] }
    }
    for isa in instructionSets {
      let packed = try PackedMatrix(parts, isa)
      let plan = try OpPlan(isa, columns: columns, maxRows: 3, keeping: [packed]) {
        try LinearOp.normLinear.record($0, $1, packed, residual: packed, norm: norm)
      }
      let result = try plan.run(rows: 3, inputs: x, on: stream)
      try #require(result.count == expected.count)
      let largest = expected.reduce(1) { max($0, abs($1)) }
      #expect(zip(result, expected).allSatisfy { abs($0 - $1) <= 3e-5 * largest })
    }
  }
}
