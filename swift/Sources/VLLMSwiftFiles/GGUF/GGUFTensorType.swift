/// How ggml stores a tensor's rows: blocks of `blockSize` weights in `blockBytes` bytes each.
struct GGUFTensorType {
  let name: String
  let blockSize: Int
  let blockBytes: Int
  /// Nil: known by name and size only.
  let format: CheckpointTensor.Format?

  private init(
    _ name: String, _ blockSize: Int, _ blockBytes: Int, _ format: CheckpointTensor.Format? = nil
  ) {
    self.name = name
    self.blockSize = blockSize
    self.blockBytes = blockBytes
    self.format = format
  }

  /// By the numbers of ggml.h's `ggml_type`.
  static let all: [UInt32: GGUFTensorType] = [
    0: .init("F32", 1, 4, .float32), 1: .init("F16", 1, 2, .float16),
    2: .init("Q4_0", 32, 18, .ggufQ4_0), 3: .init("Q4_1", 32, 20, .ggufQ4_1),
    6: .init("Q5_0", 32, 22, .ggufQ5_0), 7: .init("Q5_1", 32, 24, .ggufQ5_1),
    8: .init("Q8_0", 32, 34, .ggufQ8_0), 9: .init("Q8_1", 32, 40),
    10: .init("Q2_K", 256, 84), 11: .init("Q3_K", 256, 110, .ggufQ3_K),
    12: .init("Q4_K", 256, 144, .ggufQ4_K), 13: .init("Q5_K", 256, 176, .ggufQ5_K),
    14: .init("Q6_K", 256, 210, .ggufQ6_K), 15: .init("Q8_K", 256, 292),
    16: .init("IQ2_XXS", 256, 66), 17: .init("IQ2_XS", 256, 74), 18: .init("IQ3_XXS", 256, 98),
    19: .init("IQ1_S", 256, 50), 20: .init("IQ4_NL", 32, 18), 21: .init("IQ3_S", 256, 110),
    22: .init("IQ2_S", 256, 82), 23: .init("IQ4_XS", 256, 136),
    24: .init("I8", 1, 1), 25: .init("I16", 1, 2), 26: .init("I32", 1, 4), 27: .init("I64", 1, 8),
    28: .init("F64", 1, 8), 29: .init("IQ1_M", 256, 56), 30: .init("BF16", 1, 2, .bfloat16),
    34: .init("TQ1_0", 256, 54), 35: .init("TQ2_0", 256, 66),
    39: .init("MXFP4", 32, 17), 40: .init("NVFP4", 64, 36),
  ]

  /// The ones that can be computed with, for messages.
  static let supported = all.sorted { $0.key < $1.key }.compactMap {
    $0.value.format == nil ? nil : $0.value.name
  }.joined(separator: ", ")
}
