/// Writes GGUF files, sound or not, from the specification's words.
struct GGUFBuilder {
  indirect enum Value {
    case u8(UInt8)
    case i8(Int8)
    case u16(UInt16)
    case i16(Int16)
    case u32(UInt32)
    case i32(Int32)
    case f32(Float)
    case bool(Bool)
    case string(String)
    case u64(UInt64)
    case i64(Int64)
    case f64(Double)
    case array(of: UInt32, [Value])
    case raw(type: UInt32, [UInt8])

    var type: UInt32 {
      switch self {
      case .u8: 0
      case .i8: 1
      case .u16: 2
      case .i16: 3
      case .u32: 4
      case .i32: 5
      case .f32: 6
      case .bool: 7
      case .string: 8
      case .array: 9
      case .u64: 10
      case .i64: 11
      case .f64: 12
      case .raw(let type, _): type
      }
    }

    var bytes: [UInt8] {
      switch self {
      case .u8(let value): .little(value)
      case .i8(let value): .little(value)
      case .u16(let value): .little(value)
      case .i16(let value): .little(value)
      case .u32(let value): .little(value)
      case .i32(let value): .little(value)
      case .u64(let value): .little(value)
      case .i64(let value): .little(value)
      case .f32(let value): .little(value.bitPattern)
      case .f64(let value): .little(value.bitPattern)
      case .bool(let value): [value ? 1 : 0]
      case .string(let value): GGUFBuilder.string(value)
      case .array(let type, let values):
        .little(type) + .little(UInt64(values.count)) + values.flatMap(\.bytes)
      case .raw(_, let bytes): bytes
      }
    }
  }

  struct Tensor {
    var name: String
    /// Columns first, as in the file.
    var dimensions: [UInt64]
    var type: UInt32
    var data: [UInt8]
    /// Nil: after the tensor before it.
    var offset: UInt64? = nil
  }

  var magic = Array("GGUF".utf8)
  var version: UInt32 = 3
  var metadata: [(key: String, value: Value)] = []
  var tensors: [Tensor] = []
  var metadataCount: UInt64?
  var tensorCount: UInt64?
  var alignment = 32

  subscript(key: String) -> Value? {
    get { metadata.first { $0.key == key }?.value }
    set {
      metadata.removeAll { $0.key == key }
      if let newValue { metadata.append((key, newValue)) }
    }
  }

  static func string(_ text: String) -> [UInt8] { .little(UInt64(text.utf8.count)) + text.utf8 }

  /// Everything before the weights.
  var header: [UInt8] {
    var bytes = magic + .little(version)
    bytes += .little(tensorCount ?? UInt64(tensors.count))
    bytes += .little(metadataCount ?? UInt64(metadata.count))
    for (key, value) in metadata {
      bytes += Self.string(key) + .little(value.type) + value.bytes
    }
    var next: UInt64 = 0
    for tensor in tensors {
      bytes += Self.string(tensor.name) + .little(UInt32(tensor.dimensions.count))
      for size in tensor.dimensions { bytes += .little(size) }
      bytes += .little(tensor.type) + .little(tensor.offset ?? next)
      next += UInt64(padded(tensor.data.count))
    }
    return bytes
  }

  var bytes: [UInt8] {
    var bytes = header
    bytes += Array(repeating: 0, count: padded(bytes.count) - bytes.count)
    for tensor in tensors {
      bytes += tensor.data
      bytes += Array(repeating: 0, count: padded(tensor.data.count) - tensor.data.count)
    }
    return bytes
  }

  private func padded(_ count: Int) -> Int { (count + alignment - 1) / alignment * alignment }
}

extension GGUFBuilder {
  static let blockBytes: [UInt32: Int] = [2: 18, 3: 20, 6: 22, 7: 24, 8: 34]

  /// Random weights of a type: 0 F32, 1 F16, 2 Q4_0, 3 Q4_1, 6 Q5_0, 7 Q5_1, 8 Q8_0,
  /// 30 BF16. Scales are finite.
  static func weights(_ type: UInt32, count: Int, _ generator: inout SeededGenerator) -> [UInt8] {
    func half() -> [UInt8] {
      .little(Float16(Float.random(in: -1...1, using: &generator)).bitPattern)
    }
    switch type {
    case 0:
      return (0..<count).flatMap { _ in
        [UInt8].little(Float.random(in: -1...1, using: &generator).bitPattern)
      }
    case 1: return (0..<count).flatMap { _ in half() }
    case 30:
      return (0..<count).flatMap { _ in
        [UInt8].little(
          UInt16(Float.random(in: -1...1, using: &generator).bitPattern >> 16))
      }
    default:
      let scales = type == 3 || type == 7 ? 2 : 1
      let codes = (blockBytes[type] ?? 0) - 2 * scales
      return (0..<count / 32).flatMap { _ in
        (0..<scales).flatMap { _ in half() }
          + (0..<codes).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
      }
    }
  }

  /// A model of one layer: 64 wide, 2 heads of 32 over 1, 96 in the MLP, 8 tokens.
  static func tinyLlama(type: UInt32 = 3, seed: UInt64 = 1) -> GGUFBuilder {
    var generator = SeededGenerator(state: seed)
    var builder = GGUFBuilder()
    builder.metadata = [
      ("general.architecture", .string("llama")),
      ("general.name", .string("tiny \"llama\"")),
      ("llama.block_count", .u32(1)), ("llama.context_length", .u32(128)),
      ("llama.embedding_length", .u32(64)), ("llama.feed_forward_length", .u32(96)),
      ("llama.attention.head_count", .u32(2)), ("llama.attention.head_count_kv", .u32(1)),
      ("llama.attention.layer_norm_rms_epsilon", .f32(1e-5)),
      ("llama.rope.freq_base", .f32(500_000)), ("llama.vocab_size", .u32(8)),
      ("llama.rope.dimension_count", .u32(32)),
      ("tokenizer.ggml.model", .string("gpt2")),
      (
        "tokenizer.ggml.tokens",
        .array(of: 8, ["<s>", "</s>", "a", "b", "Ġ\"x\"", "\\", "\n", "ü€😀"].map { .string($0) })
      ),
      ("tokenizer.ggml.token_type", .array(of: 5, [3, 3, 1, 1, 1, 1, 1, 1].map { .i32($0) })),
      ("tokenizer.ggml.bos_token_id", .u32(0)), ("tokenizer.ggml.eos_token_id", .u32(1)),
      ("tokenizer.chat_template", .string("{{ messages }}")),
    ]
    func add(_ name: String, _ rows: Int, _ columns: Int, _ type: UInt32) {
      let dimensions = rows == 1 ? [UInt64(columns)] : [UInt64(columns), UInt64(rows)]
      builder.tensors.append(
        Tensor(
          name: name, dimensions: dimensions, type: type,
          data: weights(type, count: rows * columns, &generator), offset: nil))
    }
    add("token_embd.weight", 8, 64, type == 3 ? 8 : type)
    add("blk.0.attn_norm.weight", 1, 64, 0)
    add("blk.0.attn_q.weight", 64, 64, type)
    add("blk.0.attn_k.weight", 32, 64, type)
    add("blk.0.attn_v.weight", 32, 64, type)
    add("blk.0.attn_output.weight", 64, 64, type)
    add("blk.0.ffn_norm.weight", 1, 64, 0)
    add("blk.0.ffn_gate.weight", 96, 64, type)
    add("blk.0.ffn_up.weight", 96, 64, type)
    add("blk.0.ffn_down.weight", 64, 96, type)
    add("output_norm.weight", 1, 64, 0)
    return builder
  }
}
