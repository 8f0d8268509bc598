import VLLMSwiftCore
import VLLMSwiftFiles

/// Turns checkpoint tensors into the form that an executor computes with.
public protocol WeightStore {
  associatedtype Operations: Ops
  /// - Parameter parts: matrices of one width, to be stacked along their rows.
  func matrix(_ parts: [CheckpointTensor]) throws -> Operations.Matrix
  func vector(_ tensor: CheckpointTensor) throws -> Operations.Vector
}

/// Looks weights up by their checkpoint names, checks their shapes, and hands them to a store.
/// Pages of the file go back to the system as soon as they are read, so that memory never holds the
/// model twice.
public struct WeightLoader<Store: WeightStore> {
  public let checkpoint: any Checkpoint
  public let store: Store
  private let prefix: String
  private let pause: (Int) throws -> Void

  /// - Parameter pause: called after each matrix, with its bytes in the checkpoint.
  public init(
    _ checkpoint: any Checkpoint, into store: Store, pause: @escaping (Int) throws -> Void
  ) {
    self.init(checkpoint, store, prefix: "", pause)
  }

  private init(
    _ checkpoint: any Checkpoint, _ store: Store, prefix: String,
    _ pause: @escaping (Int) throws -> Void
  ) {
    (self.checkpoint, self.store, self.prefix, self.pause) = (checkpoint, store, prefix, pause)
  }

  /// The weights whose names begin with `name` and a dot.
  public func scope(_ name: String) -> WeightLoader {
    WeightLoader(checkpoint, store, prefix: prefix + name + ".", pause)
  }

  /// The matrix `name`.weight, or several stacked along their rows.
  /// - Parameter parts: names and rows of the matrices.
  public func matrix(_ parts: [(name: String, rows: Int)], columns: Int) throws
    -> Store.Operations.Matrix
  {
    let tensors = try parts.map { try tensor($0.name, shape: [$0.rows, columns]) }
    let matrix: Store.Operations.Matrix
    do {
      defer { tensors.forEach(checkpoint.release) }
      matrix = try store.matrix(tensors)
    }
    try pause(tensors.reduce(0) { $0 + $1.byteCount })
    return matrix
  }

  public func matrix(_ name: String, rows: Int, columns: Int) throws -> Store.Operations.Matrix {
    try matrix([(name, rows)], columns: columns)
  }

  public func norm(_ name: String, size: Int, epsilon: Float) throws
    -> RMSNorm<Store.Operations.Vector>
  {
    let tensor = try tensor(name, shape: [size])
    defer { checkpoint.release(tensor) }
    return RMSNorm(weight: try store.vector(tensor), epsilon: epsilon)
  }

  private func tensor(_ name: String, shape: [Int]) throws -> CheckpointTensor {
    let full = prefix + name + ".weight"
    guard let tensor = try checkpoint.tensor(full) else {
      throw EngineError(
        .modelCorrupt, "\(checkpoint.path) has no tensor '\(full)', which its config calls for")
    }
    guard tensor.shape == shape else {
      throw EngineError(
        .modelCorrupt,
        "'\(full)' in \(checkpoint.path) has shape \(tensor.shape), and the config says \(shape)")
    }
    return tensor
  }
}
