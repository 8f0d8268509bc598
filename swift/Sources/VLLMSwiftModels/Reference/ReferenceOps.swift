import CKernels
import MLXArray
import VLLMSwiftCore

/// The ops of one step, computed with stock MLX ops. Results are lazy.
struct ReferenceOps: Ops {
  let layout: BatchLayout
  /// int32 [rows]
  let tokens: MLXArray
  let cache: ReferenceCache
  let stream: MLXStream

  func embed(_ table: ReferenceMatrix) throws -> MLXArray {
    try stream.withHandle { stream in
      try tokens.withHandle { tokens in
        try table.withPart { table in
          try MLXArray { ck_ref_embed(stream, tokens, table, $0, $1) }
        }
      }
    }
  }

  func normLinear(
    _ x: MLXArray, _ norm: RMSNorm<MLXArray>, _ weight: ReferenceMatrix
  ) throws -> MLXArray {
    try with(x, norm.weight) { stream, x, scale in
      try weight.withParts { parts in
        try MLXArray {
          ck_ref_norm_linear(
            stream, x, scale, norm.epsilon, parts.baseAddress, Int32(parts.count), $0, $1)
        }
      }
    }
  }

  func attend(_ qkv: MLXArray, _ attention: Attention) throws -> MLXArray {
    let (keys, values) = cache.layers[attention.layer]
    return try with(qkv, keys) { stream, qkv, keys in
      try values.withHandle { values in
        try layout.withSequences { sequences in
          try attention.withParameters { attention in
            try MLXArray {
              ck_ref_attend(
                stream, qkv, attention, keys, values, sequences.baseAddress,
                Int32(sequences.count), $0, $1)
            }
          }
        }
      }
    }
  }

  func linear(_ x: MLXArray, _ weight: ReferenceMatrix, residual: MLXArray) throws -> MLXArray {
    try with(x, residual) { stream, x, residual in
      try weight.withPart { weight in
        try MLXArray { ck_ref_linear(stream, x, weight, residual, $0, $1) }
      }
    }
  }

  func gatedLinear(
    _ gateUp: MLXArray, _ activation: Activation, _ weight: ReferenceMatrix, residual: MLXArray
  ) throws -> MLXArray {
    try with(gateUp, residual) { stream, gateUp, residual in
      try weight.withPart { weight in
        try MLXArray {
          ck_ref_gated_linear(stream, gateUp, activation.code, weight, residual, $0, $1)
        }
      }
    }
  }

  func logits(
    _ x: MLXArray, _ norm: RMSNorm<MLXArray>, _ head: ReferenceMatrix
  ) throws -> MLXArray {
    let rows = layout.logitRows.map { Int32($0) }
    return try with(x, norm.weight) { stream, x, scale in
      try head.withPart { head in
        try MLXArray {
          ck_ref_logits(stream, x, rows, Int32(rows.count), scale, norm.epsilon, head, $0, $1)
        }
      }
    }
  }

  private func with<Result>(
    _ a: MLXArray, _ b: MLXArray,
    _ body: (cmlx_stream, cmlx_array, cmlx_array) throws -> Result
  ) rethrows -> Result {
    try stream.withHandle { stream in
      try a.withHandle { a in try b.withHandle { b in try body(stream, a, b) } }
    }
  }
}
