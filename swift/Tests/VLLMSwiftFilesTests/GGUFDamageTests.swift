import Foundation
import Testing
import VLLMSwiftCore

@testable import VLLMSwiftFiles

@Suite struct GGUFDamageTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  /// Expects opening and reading everything to fail with `code`, naming the file and `culprit`.
  func expect(
    _ code: EngineError.Code, _ culprit: String, sourceLocation: SourceLocation = #_sourceLocation,
    _ change: (inout GGUFBuilder) -> Void
  ) throws {
    var builder = GGUFBuilder.tinyLlama()
    change(&builder)
    let path = try folder.write(builder.bytes, to: "model.gguf")
    expectError(code, naming: "model.gguf", culprit, sourceLocation: sourceLocation) {
      let checkpoint = try openCheckpoint(path)
      try checkpoint.validate()
      for section in CheckpointSection.allCases { _ = try checkpoint.json(section) }
    }
  }

  @Test func preamble() throws {
    try expect(.modelCorrupt, "not a GGUF file") { $0.magic = Array("GGML".utf8) }
    try expect(.modelCorrupt, "version is 1") { $0.version = 1 }
    try expect(.modelCorrupt, "version is 4") { $0.version = 4 }
    try expect(.modelCorrupt, "big-endian") { $0.version = UInt32(3).byteSwapped }
    for count in [1 << 20, 1 << 63, UInt64.max] {
      try expect(.modelCorrupt, "number of tensors is \(count)") { $0.tensorCount = count }
      try expect(.modelCorrupt, "number of metadata keys is \(count)") { $0.metadataCount = count }
    }
  }

  @Test func metadata() throws {
    try expect(.modelCorrupt, "'x'") { $0["x"] = .raw(type: 13, []) }
    try expect(.modelCorrupt, "'general.name' is there twice") {
      $0.metadata.append(("general.name", .u8(0)))
    }
    try expect(.modelCorrupt, "'x'") { $0["x"] = .raw(type: 8, .little(UInt64.max)) }
    try expect(.modelCorrupt, "'x'") { $0["x"] = .raw(type: 8, .little(UInt64(1) << 40)) }
    try expect(.modelCorrupt, "'x'") { $0["x"] = .raw(type: 7, [2]) }
    try expect(.modelCorrupt, "'x'") { $0["x"] = .array(of: 7, [.u8(7)]) }
    try expect(.modelCorrupt, "'x'") {
      $0["x"] = .raw(type: 9, .little(UInt32(4)) + .little(UInt64.max))
    }
    try expect(.modelCorrupt, "'x'") {
      $0["x"] = .raw(type: 9, .little(UInt32(12)) + .little(UInt64(1) << 61))
    }
    try expect(.modelCorrupt, "array of arrays") {
      $0["x"] = .array(of: 9, [.array(of: 0, [.u8(1)])])
    }
    try expect(.modelCorrupt, "metadata key") { $0.metadata.append(("", .u8(0))) }
    try expect(.modelCorrupt, "'x' is not UTF-8") {
      $0["x"] = .raw(type: 8, .little(UInt64(2)) + [0xC3, 0x28])
    }
  }

  @Test(arguments: [GGUFBuilder.Value.u32(0), .u32(24), .i32(-32), .string("32")])
  func alignment(_ value: GGUFBuilder.Value) throws {
    try expect(.modelCorrupt, "'general.alignment'") { $0["general.alignment"] = value }
  }

  @Test func tensorList() throws {
    try expect(.modelCorrupt, "'blk.0.attn_q.weight' is there twice") {
      $0.tensors[3].name = "blk.0.attn_q.weight"
    }
    try expect(.modelCorrupt, "'model.layers.0.self_attn.q_proj.weight' is there twice") {
      $0.tensors[3].name = "blk.00.attn_q.weight"
    }
    try expect(.modelCorrupt, "'blk.0.attn_norm.weight'") { $0.tensors[1].dimensions = [] }
    try expect(.modelCorrupt, "'blk.0.attn_norm.weight'") {
      $0.tensors[1].dimensions = [1, 1, 1, 1, 64]
    }
    for size in [0, 1 << 31, UInt64.max] {
      try expect(.modelCorrupt, "'blk.0.attn_norm.weight' has a dimension of \(size)") {
        $0.tensors[1].dimensions = [size]
      }
    }
    try expect(.modelCorrupt, "impossible shape") {
      $0.tensors[1].dimensions = Array(repeating: UInt64(Int32.max), count: 4)
    }
    try expect(.modelCorrupt, "no multiple of the 32 of a Q4_1 block") {
      $0.tensors[2].dimensions = [63, 64]
    }
    try expect(.modelCorrupt, "no multiple of the 256 of a Q6_K block") {
      $0.tensors[2].type = 14
    }
    try expect(.modelCorrupt, "'blk.0.ffn_down.weight' needs 9216 bytes") {
      $0.tensors[9].type = 12
      $0.tensors[9].dimensions = [256, 64]
    }
    try expect(.modelCorrupt, "no multiple of 32") { $0.tensors[1].offset = 33 }
    try expect(.modelCorrupt, "overlap") { $0.tensors[1].offset = 0 }
    for offset in [1 << 20, UInt64.max & ~31, 1 << 63] {
      try expect(.modelCorrupt, "'output_norm.weight' needs") { $0.tensors[10].offset = offset }
    }
  }

  @Test func configuration() throws {
    for key in [
      "block_count", "context_length", "embedding_length", "feed_forward_length",
      "attention.head_count", "attention.layer_norm_rms_epsilon",
    ] {
      try expect(.modelCorrupt, "'llama.\(key)'") { $0["llama.\(key)"] = nil }
      try expect(.modelCorrupt, "'llama.\(key)'") { $0["llama.\(key)"] = .string("many") }
    }
    for value: GGUFBuilder.Value in [.u32(0), .i32(-1), .u64(1 << 63), .f32(2)] {
      try expect(.modelCorrupt, "'llama.block_count'") { $0["llama.block_count"] = value }
    }
    try expect(.modelCorrupt, "'num_hidden_layers' is 12") { $0["llama.block_count"] = .u32(12) }
    try expect(.modelCorrupt, "'llama.rope.freq_base'") { $0["llama.rope.freq_base"] = .f32(.nan) }
    try expect(.modelCorrupt, "'tokenizer.ggml.eos_token_id'") {
      $0["tokenizer.ggml.eos_token_id"] = .u32(8)
    }
    try expect(.modelCorrupt, "'blk.0.attn_k.weight' has 32 rows for 1 heads of 16") {
      $0["llama.attention.head_count"] = .u32(4)
      $0["llama.rope.dimension_count"] = nil
    }
    try expect(.modelCorrupt, "tokens") {
      $0["tokenizer.ggml.tokens"] = .array(of: 0, (0..<9).map { .u8($0) })
    }
  }

  @Test func whatIsNotSupportedIsNamed() throws {
    try expect(.modelCorrupt, "'general.architecture'") { $0["general.architecture"] = nil }
    try expect(.unsupportedArchitecture, "'gpt-oss'; supported: llama") {
      $0["general.architecture"] = .string("gpt-oss")
    }
    for (key, value): (String, GGUFBuilder.Value) in [
      ("expert_count", .u32(8)), ("rope.dimension_count", .u32(16)),
      ("attention.value_length", .u32(64)), ("rope.scaling.type", .string("yarn")),
      ("attention.causal", .bool(false)), ("logit_scale", .f32(2)),
    ] {
      try expect(.unsupportedArchitecture, "'llama.\(key)'") { $0["llama.\(key)"] = value }
    }
    for name in [
      "blk.0.ffn_gate_inp.weight", "blk.0.attn_q.scale", "blk.x.attn_q.weight", "output",
    ] {
      try expect(.unsupportedArchitecture, "'\(name)'") { $0.tensors[1].name = name }
    }
    try expect(.unsupportedQuantization, "'blk.0.attn_norm.weight' has the type I32") {
      $0.tensors[1].type = 26
    }
    try expect(.unsupportedQuantization, "'blk.0.attn_norm.weight' has the type number 99") {
      $0.tensors[1].type = 99
    }
    try expect(.unsupported, "llama-gguf-split --merge") { $0["split.count"] = .u16(2) }
  }

  @Test func anUnsupportedTypeDoesNotHideTheMetadata() throws {
    var builder = GGUFBuilder.tinyLlama()
    builder.tensors[1].type = 26
    let checkpoint = try openCheckpoint(folder.write(builder.bytes, to: "model.gguf"))
    #expect(try checkpoint.tensor("model.norm.weight") != nil)
    #expect(try !checkpoint.json(.tensors).isEmpty)
    expectError(.unsupportedQuantization, naming: "I32", "Q4_1") {
      _ = try checkpoint.tensor("model.layers.0.input_layernorm.weight")
    }
  }

  @Test func aFileCutAnywhereIsRefused() throws {
    let bytes = GGUFBuilder.tinyLlama().bytes
    // The last tensor has no padding after it: each byte counts.
    let path = try folder.write(bytes, to: "model.gguf")
    for length in bytes.indices.reversed() {
      try #require(truncate(path, length) == 0)
      expectError(.modelCorrupt, naming: "model.gguf") { _ = try openCheckpoint(path) }
    }
  }
}
