import Foundation
import Testing
import VLLMSwiftCore

@testable import VLLMSwiftFiles

@Suite struct GGUFCheckpointTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  func open(_ builder: GGUFBuilder) throws -> any Checkpoint {
    try openCheckpoint(folder.write(builder.bytes, to: "model.gguf"))
  }

  func json(_ checkpoint: any Checkpoint, _ section: CheckpointSection) throws -> NSDictionary {
    try #require(
      JSONSerialization.jsonObject(with: Data(checkpoint.json(section))) as? NSDictionary)
  }

  @Test func configHasHuggingFacesKeys() throws {
    let checkpoint = try open(.tinyLlama())
    #expect(
      try json(checkpoint, .config) == [
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": 64, "num_hidden_layers": 1, "intermediate_size": 96,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "rms_norm_eps": 1e-5,
        "rope_theta": 500_000, "max_position_embeddings": 128, "vocab_size": 8,
        "tie_word_embeddings": true, "attention_bias": false, "mlp_bias": false,
        "bos_token_id": 0, "eos_token_id": 1,
      ])
    #expect(try checkpoint.config.requiredSize("hidden_size") == 64)
    #expect(try checkpoint.config.requiredDouble("rms_norm_eps") == 1e-5)
  }

  @Test func absentKeysHaveLlamasDefaults() throws {
    var builder = GGUFBuilder.tinyLlama()
    for key in ["rope.freq_base", "attention.head_count_kv", "vocab_size", "rope.dimension_count"] {
      builder["llama.\(key)"] = nil
    }
    let config = try open(builder).config
    #expect(try config.double("rope_theta") == 10_000)
    #expect(try config.size("num_key_value_heads") == 2)
    #expect(try config.size("vocab_size") == 8)
    #expect(try config.size("sliding_window") == nil)
    #expect(try config.object("rope_scaling") == nil)
  }

  @Test func optionalFeaturesReachTheConfig() throws {
    var builder = GGUFBuilder.tinyLlama()
    builder["llama.attention.sliding_window"] = .u32(4096)
    builder["llama.rope.scaling.type"] = .string("linear")
    builder["llama.rope.scaling.factor"] = .f32(4)
    let matrix = GGUFBuilder.Tensor(
      name: "output.weight", dimensions: [64, 8], type: 0, data: Array(repeating: 0, count: 2048))
    var bias = matrix
    (bias.name, bias.dimensions, bias.data) = (
      "blk.0.attn_q.bias", [64], Array(repeating: 0, count: 256)
    )
    builder.tensors += [matrix, bias]
    let checkpoint = try open(builder)
    #expect(try checkpoint.config.size("sliding_window") == 4096)
    #expect(checkpoint.config["rope_scaling"] == ["rope_type": "linear", "factor": 4.0])
    #expect(try checkpoint.config.bool("tie_word_embeddings") == false)
    #expect(try checkpoint.config.bool("attention_bias") == true)
    #expect(try checkpoint.tensor("model.layers.0.self_attn.q_proj.bias")?.rowOrder?.count == 64)
    #expect(try checkpoint.tensor("lm_head.weight")?.shape == [8, 64])
  }

  @Test func tensorsHaveCheckpointNamesAndShapes() throws {
    let checkpoint = try open(.tinyLlama())
    let layer = "model.layers.0."
    #expect(
      checkpoint.tensorNames == [
        "model.embed_tokens.weight", layer + "input_layernorm.weight",
        layer + "self_attn.q_proj.weight", layer + "self_attn.k_proj.weight",
        layer + "self_attn.v_proj.weight", layer + "self_attn.o_proj.weight",
        layer + "post_attention_layernorm.weight", layer + "mlp.gate_proj.weight",
        layer + "mlp.up_proj.weight", layer + "mlp.down_proj.weight", "model.norm.weight",
      ])
    let down = try #require(try checkpoint.tensor(layer + "mlp.down_proj.weight"))
    #expect(down.shape == [64, 96])
    #expect(down.format == .ggufQ4_1)
    #expect(down.data.count == 64 * 3 * 20)
    #expect(down.rowOrder == nil)
    #expect(try checkpoint.tensor("model.norm.weight")?.format == .float32)
    #expect(try checkpoint.tensor("model.embed_tokens.weight")?.format == .ggufQ8_0)
    #expect(try checkpoint.tensor("lm_head.weight") == nil)
    try checkpoint.validate()
    let listing = try #require(
      JSONSerialization.jsonObject(with: Data(checkpoint.json(.tensors))) as? [NSDictionary])
    #expect(listing.count == 11)
    #expect(
      listing[0] == [
        "name": "model.embed_tokens.weight", "shape": [8, 64], "format": "Q8_0", "bytes": 544,
      ])
  }

  /// llama.cpp's converter puts row (head, half, i) of q and k at (head, i, half).
  @Test(arguments: [("q", "attn_q", 2), ("k", "attn_k", 1)])
  func rowsOfQueriesAndKeysComeInTheModelsOrder(short: String, name: String, heads: Int) throws {
    var builder = GGUFBuilder.tinyLlama(type: 0)
    let index = try #require(builder.tensors.firstIndex { $0.name == "blk.0.\(name).weight" })
    builder.tensors[index].data = (0..<heads).flatMap { head in
      (0..<16).flatMap { pair in
        (0..<2).flatMap { half in
          let row = Float(head * 32 + half * 16 + pair)
          return (0..<64).flatMap { _ in [UInt8].little(row.bitPattern) }
        }
      }
    }
    let tensor = try #require(
      try open(builder).tensor("model.layers.0.self_attn.\(short)_proj.weight"))
    var rows = [Float](repeating: -1, count: heads * 32 * 64)
    try rows.withUnsafeMutableBytes { try tensor.copyRows(to: $0) }
    #expect(rows == (0..<heads * 32).flatMap { [Float](repeating: Float($0), count: 64) })
  }

  @Test func tokenizerAndMetadataAreTheFilesOwn() throws {
    var builder = GGUFBuilder.tinyLlama()
    builder["x.u8"] = .u8(255)
    builder["x.i8"] = .i8(-128)
    builder["x.u16"] = .u16(65535)
    builder["x.i16"] = .i16(-32768)
    builder["x.u64"] = .u64(.max)
    builder["x.i64"] = .i64(.min)
    builder["x.f64"] = .f64(0.1)
    builder["x.nan"] = .f32(.nan)
    builder["x.bools"] = .array(of: 7, [.bool(true), .bool(false)])
    let checkpoint = try open(builder)
    #expect(
      try json(checkpoint, .tokenizer) == [
        "model": "gpt2", "tokens": ["<s>", "</s>", "a", "b", "Ġ\"x\"", "\\", "\n", "ü€😀"],
        "token_types": [3, 3, 1, 1, 1, 1, 1, 1], "bos_token_id": 0, "eos_token_id": 1,
      ])
    let metadata = try json(checkpoint, .metadata)
    #expect(metadata["tokenizer.chat_template"] as? String == "{{ messages }}")
    #expect(metadata["general.name"] as? String == "tiny \"llama\"")
    #expect(metadata["llama.block_count"] as? Int == 1)
    #expect(metadata["x.u8"] as? Int == 255)
    #expect(metadata["x.i8"] as? Int == -128)
    #expect(metadata["x.u16"] as? Int == 65535)
    #expect(metadata["x.i16"] as? Int == -32768)
    #expect(metadata["x.u64"] as? UInt64 == .max)
    #expect(metadata["x.i64"] as? Int64 == .min)
    #expect(metadata["x.f64"] as? Double == 0.1)
    #expect(metadata["x.nan"] is NSNull)
    #expect(metadata["x.bools"] as? [Bool] == [true, false])
    #expect(metadata["tokenizer.ggml.model"] == nil)
  }

  @Test func version2AndOtherAlignmentsAreRead() throws {
    var builder = GGUFBuilder.tinyLlama()
    builder.version = 2
    builder.alignment = 256
    builder["general.alignment"] = .u32(256)
    let checkpoint = try open(builder)
    let norm = try #require(try checkpoint.tensor("model.norm.weight"))
    #expect(Array(norm.data) == builder.tensors.last?.data)
  }

  @Test func releasedTensorsStayReadable() throws {
    let checkpoint = try open(.tinyLlama())
    let tensor = try #require(try checkpoint.tensor("model.norm.weight"))
    let before = Array(tensor.data)
    checkpoint.release(tensor)
    #expect(Array(tensor.data) == before)
  }

  @Test func tensorsOutliveTheirCheckpoint() throws {
    let builder = GGUFBuilder.tinyLlama()
    let tensor = try #require(try open(builder).tensor("model.norm.weight"))
    try withExtendedLifetime(tensor) {
      try folder.write("replaced", to: "other.gguf")
      #expect(Array(tensor.data) == builder.tensors.last?.data)
    }
  }
}
