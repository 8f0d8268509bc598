/// The vocabulary that models are written in: a few large ops over the flat token axis.
///
/// An executor decides what `Rows` and `Matrix` are and what an op does: compute with stock MLX ops,
/// or record itself into a plan that is replayed each step. A model sees only their names. What a
/// step runs over (tokens, sequences, caches) is the executor's as well.
public protocol Ops {
  /// [rows, columns], an intermediate result.
  associatedtype Rows
  /// [rows, columns] as in y = x W^T; may be several matrices of one width, stacked.
  associatedtype Matrix
  /// [columns]
  associatedtype Vector
  /// [rows that want logits, vocabulary]
  associatedtype Logits

  /// The step's tokens, looked up: [rows, hidden].
  func embed(_ table: Matrix) throws -> Rows

  /// norm(x) W^T
  func normLinear(_ x: Rows, _ norm: RMSNorm<Vector>, _ weight: Matrix) throws -> Rows

  /// Rotates queries and keys, appends keys and values to the cache, and attends causally.
  /// - Parameter qkv: [rows, (heads + 2 kvHeads) * headDim]: queries, keys, values.
  /// - Returns: [rows, heads * headDim]
  func attend(_ qkv: Rows, _ attention: Attention) throws -> Rows

  /// x W^T + residual
  func linear(_ x: Rows, _ weight: Matrix, residual: Rows) throws -> Rows

  /// (activation(gate) * up) W^T + residual
  /// - Parameter gateUp: [rows, 2 * columns]: gate, then up.
  func gatedLinear(
    _ gateUp: Rows, _ activation: Activation, _ weight: Matrix, residual: Rows
  ) throws -> Rows

  /// norm(x) W^T of the rows that want logits.
  func logits(_ x: Rows, _ norm: RMSNorm<Vector>, _ head: Matrix) throws -> Logits
}

/// Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019 (arXiv:1910.07467).
public struct RMSNorm<Vector> {
  public let weight: Vector
  public let epsilon: Float
}

public enum Activation: Sendable {
  case silu
}

/// One layer's attention: grouped queries (Ainslie et al., 2023, arXiv:2305.13245) with a rotary
/// embedding (Su et al., 2021, arXiv:2104.09864).
public struct Attention: Sendable {
  /// Which layer's cache.
  public let layer: Int
  public let heads: Int
  public let kvHeads: Int
  public let headDim: Int
  /// Of q . k.
  public let scale: Float
  /// Keys that a query sees, its own included; nil is all.
  public let window: Int?
  /// [headDim / 2], radians a position.
  public let inverseFrequencies: [Float]
}

/// A decoder: token rows in, logits out.
public protocol Decoder<Operations> {
  associatedtype Operations: Ops

  /// Called once a step, or once in all by an executor that records.
  func forward(_ ops: Operations) throws -> Operations.Logits
}
