import CKernels
import MLXArray

/// SplitMix64: the same numbers on every run.
struct Numbers: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  mutating func floats(_ count: Int, in range: ClosedRange<Float> = -1...1) -> [Float] {
    (0..<count).map { _ in Float.random(in: range, using: &self) }
  }
}

/// How a checkpoint holds a matrix.
struct WeightFormat: CustomStringConvertible, Sendable {
  var format: ck_format
  var bits = 0
  var groupSize = 32
  var scaleType = MLXArray.DType.float16

  static let q40 = WeightFormat(format: CK_GGUF_Q4_0, bits: 4)
  static let q41 = WeightFormat(format: CK_GGUF_Q4_1, bits: 4)
  static let q80 = WeightFormat(format: CK_GGUF_Q8_0, bits: 8)
  static let q50 = WeightFormat(format: CK_GGUF_Q5_0, bits: 5)
  static let q51 = WeightFormat(format: CK_GGUF_Q5_1, bits: 5)
  static let float32 = WeightFormat(format: CK_FLOAT32)
  static let float16 = WeightFormat(format: CK_FLOAT16)
  static let bfloat16 = WeightFormat(format: CK_BFLOAT16)
  static func affine(
    _ bits: Int, _ groupSize: Int, _ scaleType: MLXArray.DType = .float16
  ) -> WeightFormat {
    WeightFormat(format: CK_AFFINE, bits: bits, groupSize: groupSize, scaleType: scaleType)
  }

  static let gguf = [q40, q41, q80, q50, q51]
  static let floats = [float32, float16, bfloat16]
  static let affine =
    [2, 3, 4, 5, 6, 8].flatMap { bits in [32, 64, 128].map { affine(bits, $0) } }
    + [2, 3, 4, 5, 6, 8].flatMap { [affine($0, 64, .bfloat16), affine($0, 32, .float32)] }
  static let all = gguf + floats + affine

  var isFloat: Bool { bits == 0 }

  var description: String {
    switch format {
    case CK_GGUF_Q4_0: "Q4_0"
    case CK_GGUF_Q4_1: "Q4_1"
    case CK_GGUF_Q8_0: "Q8_0"
    case CK_GGUF_Q5_0: "Q5_0"
    case CK_GGUF_Q5_1: "Q5_1"
    case CK_AFFINE: "\(bits) bits, groups of \(groupSize), \(scaleType) scales"
    default: "\(scaleTypeOfFloats)"
    }
  }

  /// The type of a float format's values.
  var scaleTypeOfFloats: MLXArray.DType {
    format == CK_FLOAT32 ? .float32 : format == CK_FLOAT16 ? .float16 : .bfloat16
  }

  /// The nearest number that a checkpoint with values or scales of the type could hold.
  static func rounded(_ value: Float, to type: MLXArray.DType) -> Float {
    switch type {
    case .float16: Float(Float16(value))
    case .bfloat16: Float(bitPattern: value.bitPattern & 0xffff_0000)
    default: value
    }
  }

  static func encoded(_ value: Float, as type: MLXArray.DType) -> [UInt8] {
    switch type {
    case .float16: withUnsafeBytes(of: Float16(value).bitPattern) { [UInt8]($0) }
    case .bfloat16: withUnsafeBytes(of: UInt16(value.bitPattern >> 16)) { [UInt8]($0) }
    default: withUnsafeBytes(of: value) { [UInt8]($0) }
    }
  }
}

/// A random matrix, as a checkpoint holds it and as the reference takes it.
struct WeightMatrix {
  let format: WeightFormat
  let rows: Int
  let columns: Int
  /// Logical row i is stored row rowOrder[i].
  let rowOrder: [Int32]?
  private var data: [UInt8] = []
  private var scales: [UInt8] = []
  private var biases: [UInt8] = []
  /// In logical order: q as MLX's bit stream, or float32; and float32 scales and biases.
  private var referenceData: [UInt8] = []
  private var referenceScales: [Float] = []
  private var referenceBiases: [Float] = []

  init(
    _ format: WeightFormat, rows: Int, columns: Int, shuffled: Bool = false,
    _ numbers: inout Numbers
  ) {
    self.format = format
    self.rows = rows
    self.columns = columns
    rowOrder = shuffled ? (0..<Int32(rows)).shuffled(using: &numbers) : nil
    var stored: [WeightRow] = []
    for _ in 0..<rows {
      let row = WeightRow(format, columns: columns, &numbers)
      data += row.data
      scales += row.scales.flatMap { WeightFormat.encoded($0, as: format.scaleType) }
      biases += row.biases.flatMap { WeightFormat.encoded($0, as: format.scaleType) }
      stored.append(row)
    }
    for i in 0..<rows {
      let row = stored[rowOrder.map { Int($0[i]) } ?? i]
      referenceData += row.referenceData
      referenceScales += row.scales
      referenceBiases += row.biases
    }
  }

  /// Calls `body` with the matrix as the packer takes it.
  func withSource<Result>(_ body: (ck_source) throws -> Result) rethrows -> Result {
    try data.withUnsafeBytes { data in
      try scales.withUnsafeBytes { scales in
        try biases.withUnsafeBytes { biases in
          let order = rowOrder ?? []
          return try order.withUnsafeBufferPointer { order in
            try body(
              ck_source(
                format: format.format, rows: Int32(rows), columns: Int32(columns),
                bits: Int32(format.bits), group_size: Int32(format.groupSize),
                scale_dtype: format.scaleType.rawValue, data: data.baseAddress,
                scales: scales.baseAddress, biases: biases.baseAddress,
                row_order: rowOrder == nil ? nil : order.baseAddress))
          }
        }
      }
    }
  }

  func reference() throws -> ReferenceMatrix {
    func array<T>(_ values: [T], _ width: Int, _ type: MLXArray.DType) throws -> MLXArray {
      try values.withUnsafeBytes { try MLXArray(bytes: $0, shape: [rows, width], dtype: type) }
    }
    if format.isFloat {
      return ReferenceMatrix(weight: try array(referenceData, columns, .float32))
    }
    let groups = columns / format.groupSize
    return ReferenceMatrix(
      weight: try array(referenceData, columns * format.bits / 32, .uint32),
      scales: try array(referenceScales, groups, .float32),
      biases: try array(referenceBiases, groups, .float32),
      bits: format.bits, groupSize: format.groupSize)
  }
}

/// One stored row.
private struct WeightRow {
  var data: [UInt8] = []
  var scales: [Float] = []
  var biases: [Float] = []
  var referenceData: [UInt8] = []

  init(_ format: WeightFormat, columns: Int, _ numbers: inout Numbers) {
    if format.isFloat {
      let type = format.scaleTypeOfFloats
      for value in numbers.floats(columns) {
        let value = WeightFormat.rounded(value, to: type)
        data += WeightFormat.encoded(value, as: type)
        referenceData += WeightFormat.encoded(value, as: .float32)
      }
      return
    }
    let q = (0..<columns).map { _ in
      UInt8.random(in: 0...UInt8((1 << format.bits) - 1), using: &numbers)
    }
    for _ in 0..<columns / format.groupSize {
      let scale = WeightFormat.rounded(
        Float.random(in: -0.05...0.05, using: &numbers), to: format.scaleType)
      let bias = WeightFormat.rounded(
        Float.random(in: -0.5...0.5, using: &numbers), to: format.scaleType)
      scales.append(scale)
      switch format.format {
      case CK_GGUF_Q4_0: biases.append(-8 * scale)
      case CK_GGUF_Q8_0: biases.append(-128 * scale)
      case CK_GGUF_Q5_0: biases.append(-16 * scale)
      default: biases.append(bias)
      }
    }
    referenceData = Self.bitStream(q, format.bits)
    data = format.format == CK_AFFINE ? referenceData : blocks(format, q)
  }

  private static func bitStream(_ q: [UInt8], _ bits: Int) -> [UInt8] {
    var stream = [UInt8](repeating: 0, count: q.count * bits / 8)
    for (k, value) in q.enumerated() {
      for bit in 0..<bits where value >> bit & 1 == 1 {
        stream[(k * bits + bit) / 8] |= 1 << ((k * bits + bit) % 8)
      }
    }
    return stream
  }

  /// As ggml's block_q4_0, block_q4_1, block_q8_0, block_q5_0 and block_q5_1.
  private func blocks(_ format: WeightFormat, _ q: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = []
    for (g, scale) in scales.enumerated() {
      let group = q[32 * g..<32 * g + 32].map { $0 }
      bytes += WeightFormat.encoded(scale, as: .float16)
      if [CK_GGUF_Q4_1, CK_GGUF_Q5_1].contains(format.format) {
        bytes += WeightFormat.encoded(biases[g], as: .float16)
      }
      if format.format == CK_GGUF_Q8_0 {
        bytes += group.map { $0 &- 128 }
      } else {
        if format.bits == 5 { bytes += Self.bitStream(group.map { $0 >> 4 }, 1) }
        bytes += (0..<16).map { group[$0] & 15 | group[$0 + 16] << 4 }
      }
    }
    return bytes
  }
}

/// A matrix as the reference ops take it.
struct ReferenceMatrix {
  var weight: MLXArray
  var scales: MLXArray?
  var biases: MLXArray?
  var bits = 0
  var groupSize = 0

  func withHandle<Result>(_ body: (ck_ref_matrix) throws -> Result) rethrows -> Result {
    try withExtendedLifetime(self) {
      try body(
        ck_ref_matrix(
          weight: weight.withHandle { $0 }, scales: scales?.withHandle { $0 },
          biases: biases?.withHandle { $0 }, bits: Int32(bits), group_size: Int32(groupSize)))
    }
  }
}
