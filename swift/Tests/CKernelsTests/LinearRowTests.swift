import CKernels
import MLXArray
import Testing

/// What the ops with a matrix promise of a single row.
@Suite(.serialized) struct LinearRowTests {
  private static let columns = 256
  private static let outputs = 100
  private static let formats = [
    WeightFormat.q40, .q41, .q80, .affine(2, 128), .affine(3, 64), .affine(4, 64, .bfloat16),
    .affine(5, 32, .float32), .affine(6, 32), .float16, .bfloat16, .float32,
  ]
  private let stream: MLXStream

  init() throws {
    stream = try MLXStream(gpu: false)
  }

  /// A plan of `op` with random weights, and a function that runs it on rows.
  private func rows(
    of op: LinearOp, _ format: WeightFormat, _ isa: ck_isa
  ) throws -> ([Float]) throws -> [Float] {
    var numbers = Numbers(state: 11)
    let matrix = WeightMatrix(format, rows: Self.outputs, columns: Self.columns, &numbers)
    let packed = try PackedMatrix([matrix], isa)
    let norm = numbers.floats(Self.columns, in: 0.5...1.5)
    let width = op.inputColumns(Self.columns)
    let plan = try OpPlan(isa, columns: width, maxRows: 64, keeping: [packed]) {
      try op.record($0, $1, packed, residual: packed, norm: norm)
    }
    return { x in
      let count = x.count / width
      return try plan.run(
        rows: count, inputs: x, logitRows: op == .logits ? Array(0..<Int32(count)) : [],
        on: stream)
    }
  }

  @Test(arguments: LinearOp.allCases)
  func bitsOfARowDependOnTheRowAlone(_ op: LinearOp) throws {
    defer { _ = ck_pool_configure(0) }
    var numbers = Numbers(state: 3)
    let width = op.inputColumns(Self.columns)
    let x = numbers.floats(64 * width, in: -3...3)
    for isa in instructionSets {
      for format in Self.formats {
        let run = try rows(of: op, format, isa)
        _ = ck_pool_configure(2)
        let together = try run(x).map(\.bitPattern)
        for (threads, count) in [(1, 1), (2, 1), (3, 2), (1, 3), (2, 5), (5, 8), (2, 13), (1, 64)] {
          _ = ck_pool_configure(Int32(threads))
          for first in [0, 64 - count] {
            let part = try run(Array(x[first * width..<(first + count) * width]))
            #expect(
              part.map(\.bitPattern)
                == Array(together[first * Self.outputs..<(first + count) * Self.outputs]),
              "\(op), \(format): rows \(first) ..< \(first + count) on \(threads) threads")
          }
        }
      }
    }
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func aNumberThatIsNoneSpoilsItsRowAlone(_ bad: Float) throws {
    var numbers = Numbers(state: 5)
    for isa in instructionSets {
      for format in Self.formats {
        for op in [LinearOp.linear, .normLinear, .gatedLinear] {
          let run = try rows(of: op, format, isa)
          let width = op.inputColumns(Self.columns)
          var x = numbers.floats(4 * width)
          let good = try run(x)
          x[2 * width + 77] = bad
          let result = try run(x)
          let row = result[2 * Self.outputs..<3 * Self.outputs]
          #expect(row.allSatisfy { !$0.isFinite }, "\(op), \(format)")
          for other in [0, 1, 3] {
            let span = other * Self.outputs..<(other + 1) * Self.outputs
            #expect(result[span] == good[span], "\(op), \(format)")
          }
        }
      }
    }
  }

  @Test func zerosGiveZeros() throws {
    for isa in instructionSets {
      for format in Self.formats {
        for op in LinearOp.allCases {
          let zeros = [Float](repeating: 0, count: 3 * op.inputColumns(Self.columns))
          let result = try rows(of: op, format, isa)(zeros)
          #expect(result.allSatisfy { $0 == 0 }, "\(op), \(format)")
        }
      }
    }
  }

  @Test(arguments: [1e-30 as Float, 1e-10, 1e10, 1e30])
  func resultsScaleWithTheirInputs(_ size: Float) throws {
    var numbers = Numbers(state: 6)
    let x = numbers.floats(3 * Self.columns)
    for isa in instructionSets {
      for format in Self.formats {
        let run = try rows(of: .linear, format, isa)
        let base = try run(x)
        let scaled = try run(x.map { $0 * size })
        let largest = base.reduce(0) { max($0, abs($1)) }
        #expect(
          // A value between two steps of int8 may fall to the other side.
          zip(base, scaled).allSatisfy { abs($0 - $1 / size) <= 0.01 * largest },
          "\(format)")
      }
    }
  }

  @Test func roundingActivationsCostsLittle() throws {
    var numbers = Numbers(state: 8)
    let x = numbers.floats(16 * Self.columns, in: -2...2)
    let norm = try MLXArray.zeros([Self.columns], dtype: .float32, on: stream)
    for format in Self.formats {
      var same = Numbers(state: 11)
      let matrix = WeightMatrix(format, rows: Self.outputs, columns: Self.columns, &same)
      let input = try x.withUnsafeBytes {
        try MLXArray(bytes: $0, shape: [16, Self.columns], dtype: .float32)
      }
      let reference = try matrix.reference()
      let expected = try LinearOp.linear.reference(
        input, reference, residual: reference, norm: norm, logitRows: [], on: stream)
      for isa in instructionSets {
        let result = try rows(of: .linear, format, isa)(x)
        let error = zip(result, expected).map { ($0 - $1) * ($0 - $1) }.reduce(0, +)
        let power = expected.map { $0 * $0 }.reduce(0, +)
        #expect(error < 1e-4 * power, "\(format)")  // 1% of the root mean square
      }
    }
  }

  @Test(arguments: WeightFormat.all.filter { $0.format == CK_AFFINE })
  func weightsTakeAsManyBytesAsInTheirCheckpoint(_ format: WeightFormat) throws {
    var numbers = Numbers(state: 9)
    let (rows, columns) = (96, 512)
    let matrix = WeightMatrix(format, rows: rows, columns: columns, &numbers)
    let scaleBits = 2 * WeightFormat.encoded(0, as: format.scaleType).count * 8
    let bits = rows * columns * format.bits + rows * (columns / format.groupSize) * scaleBits
    for isa in instructionSets {
      #expect(ck_matrix_bytes(try PackedMatrix([matrix], isa).handle) == bits / 8, "\(format)")
    }
  }

  private func refusal(_ change: (inout ck_source) -> Void) -> String {
    var numbers = Numbers(state: 1)
    var error = cmlx_error()
    return WeightMatrix(.affine(4, 64), rows: 16, columns: 128, &numbers).withSource { source in
      var source = source
      change(&source)
      var matrix: OpaquePointer?
      guard ck_matrix_pack(&source, 1, instructionSets[0], &matrix, &error) != 0 else {
        ck_matrix_free(matrix)
        return ""
      }
      return withUnsafeBytes(of: &error.message) {
        String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      }
    }
  }

  @Test func whatHasNoLayoutIsRefusedByName() throws {
    try #require(!instructionSets.isEmpty)
    #expect(refusal { _ in } == "")
    #expect(refusal { $0.bits = 7 }.contains("bits"))
    #expect(refusal { $0.group_size = 16 }.contains("groups"))
    #expect(refusal { $0.columns = 96 }.contains("whole groups"))
    #expect(refusal { $0.scale_dtype = 0 }.contains("scales"))
    #expect(refusal { $0.rows = 0 }.contains("no rows"))
    let outside: [Int32] = Array(1...16)
    outside.withUnsafeBufferPointer { order in
      #expect(refusal { $0.row_order = order.baseAddress }.contains("row order"))
    }
  }
}
