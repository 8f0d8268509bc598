import CKernels
import MLXArray

/// A matrix packed for one instruction set.
final class PackedMatrix {
  let handle: OpaquePointer

  init(_ parts: [WeightMatrix], _ isa: ck_isa) throws {
    func pack(_ rest: ArraySlice<WeightMatrix>, _ sources: [ck_source]) throws -> OpaquePointer {
      if let part = rest.first {
        return try part.withSource { try pack(rest.dropFirst(), sources + [$0]) }
      }
      var matrix: OpaquePointer?
      try checkMLX { ck_matrix_pack(sources, Int32(sources.count), isa, &matrix, $0) }
      return matrix!
    }
    handle = try pack(parts[...], [])
  }

  deinit { ck_matrix_free(handle) }
}

/// The instruction sets that this machine runs.
let instructionSets = [
  CK_ISA_AVX2, CK_ISA_AVX512_VNNI, CK_ISA_AVX512_BF16, CK_ISA_NEON, CK_ISA_NEON_BF16,
].filter {
  ck_isa_supported($0) != 0
}

/// A plan of a few ops after its input.
final class OpPlan {
  private let handle: OpaquePointer
  private let keep: [PackedMatrix]

  /// - Parameter record: records ops on the plan's input.
  init(
    _ isa: ck_isa, columns: Int, maxRows: Int, keeping matrices: [PackedMatrix],
    _ record: (OpaquePointer, ck_rows) throws -> Void
  ) throws {
    var plan: OpaquePointer?
    try checkMLX { ck_plan_create(isa, Int32(maxRows), nil, &plan, $0) }
    handle = plan!
    keep = matrices
    var x: ck_rows = -1
    if columns > 0 { try checkMLX { ck_plan_input(handle, Int32(columns), &x, $0) } }
    try record(handle, x)
  }

  deinit { ck_plan_free(handle) }

  /// The rows that one step gives. `tokens` and `logitRows` for plans that look at them.
  func run(
    rows: Int, inputs: [Float] = [], tokens: [Int32] = [], logitRows: [Int32] = [],
    on stream: MLXStream
  ) throws -> [Float] {
    var sequence = ck_sequence(
      first_row: 0, row_count: Int32(rows), position: 0, block_count: 0, blocks: nil)
    return try inputs.withUnsafeBufferPointer { inputs in
      try tokens.withUnsafeBufferPointer { tokens in
        try logitRows.withUnsafeBufferPointer { logitRows in
          try withUnsafePointer(to: &sequence) { sequence in
            var step = ck_step(
              row_count: Int32(rows), sequence_count: 1, logit_count: Int32(logitRows.count),
              tokens: tokens.baseAddress, sequences: sequence, logit_rows: logitRows.baseAddress,
              inputs: inputs.baseAddress, copies: nil, copy_count: 0,
              part_count: 0, part_first: 0, part_end: 0)
            let result = try stream.withHandle { stream in
              try MLXArray { ck_plan_step(handle, stream, &step, nil, $0, $1) }
            }
            return try result.elements(of: Float.self, on: stream)
          }
        }
      }
    }
  }
}

/// What an op of one plan does, in kernels and in the reference.
enum LinearOp: CaseIterable, Sendable {
  case linear, linearWithResidual, normLinear, gatedLinear, logits

  static let epsilon: Float = 1e-5

  func inputColumns(_ columns: Int) -> Int { self == .gatedLinear ? 2 * columns : columns }

  /// - Parameter residual: a matrix of `matrix`'s shape; the residual is x times it.
  func record(
    _ plan: OpaquePointer, _ x: ck_rows, _ matrix: PackedMatrix, residual: PackedMatrix,
    norm: [Float]
  ) throws {
    var out: ck_rows = -1
    var added: ck_rows = -1
    switch self {
    case .linear:
      try checkMLX { ck_plan_linear(plan, x, matrix.handle, -1, &out, $0) }
    case .linearWithResidual:
      try checkMLX { ck_plan_norm_linear(plan, x, nil, 0, residual.handle, &added, $0) }
      try checkMLX { ck_plan_linear(plan, x, matrix.handle, added, &out, $0) }
    case .normLinear:
      try checkMLX { ck_plan_norm_linear(plan, x, norm, Self.epsilon, matrix.handle, &out, $0) }
    case .gatedLinear:
      try checkMLX { ck_plan_gated_linear(plan, x, CK_SILU, matrix.handle, -1, &out, $0) }
    case .logits:
      try checkMLX { ck_plan_logits(plan, x, norm, Self.epsilon, matrix.handle, $0) }
    }
  }

  /// The same by stock MLX ops. `logitRows` are those of `.logits`.
  func reference(
    _ x: MLXArray, _ matrix: ReferenceMatrix, residual: ReferenceMatrix, norm: MLXArray,
    logitRows: [Int32], on stream: MLXStream
  ) throws -> [Float] {
    let result = try stream.withHandle { s in
      try x.withHandle { x in
        try norm.withHandle { norm in
          try matrix.withHandle { matrix in
            var matrix = matrix
            let count = Int32(logitRows.count)
            switch self {
            case .linear:
              return try MLXArray { ck_ref_linear(s, x, &matrix, nil, $0, $1) }
            case .linearWithResidual:
              let added = try residual.withHandle { other in
                var other = other
                return try MLXArray { ck_ref_linear(s, x, &other, nil, $0, $1) }
              }
              return try added.withHandle { added in
                try MLXArray { ck_ref_linear(s, x, &matrix, added, $0, $1) }
              }
            case .normLinear:
              return try MLXArray {
                ck_ref_norm_linear(s, x, norm, Self.epsilon, &matrix, 1, $0, $1)
              }
            case .gatedLinear:
              return try MLXArray {
                ck_ref_gated_linear(s, x, CK_SILU, &matrix, nil, $0, $1)
              }
            case .logits:
              return try MLXArray {
                ck_ref_logits(s, x, logitRows, count, norm, Self.epsilon, &matrix, $0, $1)
              }
            }
          }
        }
      }
    }
    return try result.elements(of: Float.self, on: stream)
  }
}
