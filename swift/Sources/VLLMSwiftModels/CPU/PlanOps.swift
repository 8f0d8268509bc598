import CKernels
import MLXArray
import VLLMSwiftCore
import VLLMSwiftFiles

/// Weights packed for the CPU kernels of one instruction set.
final class PackedMatrix {
  let handle: OpaquePointer

  init(_ parts: [CheckpointTensor], isa: ck_isa) throws {
    var result: OpaquePointer?
    try withSources(parts) { sources in
      try checkMLX { ck_matrix_pack(sources.baseAddress, Int32(sources.count), isa, &result, $0) }
    }
    guard let result else { throw EngineError(.internal, "packing gave no matrix") }
    handle = result
  }

  deinit { ck_matrix_free(handle) }
}

/// Packs weights; keeps every matrix, since plans hold their addresses.
final class PackedWeights: WeightStore {
  typealias Operations = PlanOps

  private let isa: ck_isa
  private var matrices: [PackedMatrix] = []

  init(isa: ck_isa) {
    self.isa = isa
  }

  var byteCount: Int { matrices.reduce(0) { $0 + ck_matrix_bytes($1.handle) } }

  func matrix(_ parts: [CheckpointTensor]) throws -> PackedMatrix {
    let matrix = try PackedMatrix(parts, isa: isa)
    matrices.append(matrix)
    return matrix
  }

  func vector(_ tensor: CheckpointTensor) throws -> [Float] {
    try tensor.floats()
  }

  /// The first tensor that the kernels have no path for.
  static func unsupported(in checkpoint: any Checkpoint, isa: ck_isa) throws -> CheckpointTensor? {
    for name in checkpoint.tensorNames {
      guard let tensor = try checkpoint.tensor(name), tensor.shape.count == 2 else { continue }
      let supported = withSources([tensor]) { ck_matrix_supported($0.baseAddress, isa) != 0 }
      if !supported { return tensor }
    }
    return nil
  }
}

/// Records a model's ops into a plan. The model's forward pass runs once.
struct PlanOps: Ops {
  typealias Rows = ck_rows

  let plan: OpaquePointer

  func embed(_ table: PackedMatrix) throws -> ck_rows {
    try recorded { ck_plan_embed(plan, table.handle, $0, $1) }
  }

  func normLinear(
    _ x: ck_rows, _ norm: RMSNorm<[Float]>, _ weight: PackedMatrix
  ) throws -> ck_rows {
    try recorded { ck_plan_norm_linear(plan, x, norm.weight, norm.epsilon, weight.handle, $0, $1) }
  }

  func attend(_ qkv: ck_rows, _ attention: Attention) throws -> ck_rows {
    try attention.withParameters { attention in
      try recorded { ck_plan_attend(plan, qkv, attention, $0, $1) }
    }
  }

  func linear(_ x: ck_rows, _ weight: PackedMatrix, residual: ck_rows) throws -> ck_rows {
    try recorded { ck_plan_linear(plan, x, weight.handle, residual, $0, $1) }
  }

  func gatedLinear(
    _ gateUp: ck_rows, _ activation: Activation, _ weight: PackedMatrix, residual: ck_rows
  ) throws -> ck_rows {
    try recorded {
      ck_plan_gated_linear(plan, gateUp, activation.code, weight.handle, residual, $0, $1)
    }
  }

  func logits(_ x: ck_rows, _ norm: RMSNorm<[Float]>, _ head: PackedMatrix) throws {
    try checkMLX { ck_plan_logits(plan, x, norm.weight, norm.epsilon, head.handle, $0) }
  }

  private func recorded(
    _ record: (UnsafeMutablePointer<ck_rows>, UnsafeMutablePointer<cmlx_error>) -> Int32
  ) throws -> ck_rows {
    var rows: ck_rows = -1
    try checkMLX { record(&rows, $0) }
    return rows
  }
}

/// The tensors as the kernels read them, for the length of `body`.
private func withSources<Result>(
  _ tensors: [CheckpointTensor], _ body: (UnsafeBufferPointer<ck_source>) throws -> Result
) rethrows -> Result {
  let orders = tensors.flatMap { $0.rowOrder ?? [] }
  return try orders.withUnsafeBufferPointer { orders in
    var first = 0
    let sources = tensors.map { tensor in
      var order: UnsafePointer<Int32>?
      if let count = tensor.rowOrder?.count {
        order = orders.baseAddress.map { $0 + first }
        first += count
      }
      return ck_source(tensor, rowOrder: order)
    }
    return try withExtendedLifetime(tensors) { try sources.withUnsafeBufferPointer(body) }
  }
}

extension ck_source {
  fileprivate init(_ tensor: CheckpointTensor, rowOrder: UnsafePointer<Int32>?) {
    self.init()
    switch tensor.format {
    case .float32: format = CK_FLOAT32
    case .float16: format = CK_FLOAT16
    case .bfloat16: format = CK_BFLOAT16
    case .ggufQ4_0: format = CK_GGUF_Q4_0
    case .ggufQ4_1: format = CK_GGUF_Q4_1
    case .ggufQ8_0: format = CK_GGUF_Q8_0
    case .ggufQ5_0: format = CK_GGUF_Q5_0
    case .ggufQ5_1: format = CK_GGUF_Q5_1
    case .ggufQ3_K: format = CK_GGUF_Q3_K
    case .ggufQ4_K: format = CK_GGUF_Q4_K
    case .ggufQ5_K: format = CK_GGUF_Q5_K
    case .ggufQ6_K: format = CK_GGUF_Q6_K
    case .affine(let bits, let groupSize):
      format = CK_AFFINE
      self.bits = Int32(bits)
      group_size = Int32(groupSize)
    }
    rows = Int32(tensor.rows)
    columns = Int32(tensor.columns)
    scale_dtype = tensor.scaleType?.dtype.rawValue ?? 0
    data = tensor.data.baseAddress
    scales = tensor.scales?.baseAddress
    biases = tensor.biases?.baseAddress
    row_order = rowOrder
  }
}
