import VLLMSwiftCore

/// Llama 1 to 3, Mistral and their kin: what llama.cpp's converter writes for LlamaForCausalLM.
///
/// Llama 3's scaled rotary frequencies come as the tensor `rope_freqs.weight`, float32
/// [head_dim / 2], by which each frequency is to be divided. It has no counterpart in Hugging
/// Face's checkpoints and keeps its name; `rope_scaling` is absent then.
struct GGUFLlama: GGUFArchitecture {
  let name = "llama"

  private static let outer = [
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
  ]
  private static let inLayer = [
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
  ]

  func checkpointName(_ tensor: String) -> String? {
    if tensor == "rope_freqs.weight" { return tensor }
    let parts = tensor.split(separator: ".", omittingEmptySubsequences: false)
    guard let kind = parts.last, kind == "weight" || kind == "bias" else { return nil }
    if parts.count == 2 { return Self.outer[String(parts[0])].map { "\($0).\(kind)" } }
    guard parts.count == 4, parts[0] == "blk", let layer = UInt32(parts[1]) else { return nil }
    return Self.inLayer[String(parts[2])].map { "model.layers.\(layer).\($0).\(kind)" }
  }

  /// llama.cpp rotates neighbouring pairs (2i, 2i + 1) where the original rotates (i, i + half), and
  /// keeps the rows of q and k in that order; this undoes it.
  func rowOrder(_ tensor: GGUFFile.Tensor, _ config: ModelConfig) throws -> [Int32]? {
    let key: String
    switch tensor.name.split(separator: ".").dropLast().last {
    case "attn_q": key = "num_attention_heads"
    case "attn_k": key = "num_key_value_heads"
    default: return nil
    }
    let heads = try config.requiredSize(key)
    let headDim = try config.requiredSize("head_dim")
    guard tensor.shape[0] == heads * headDim, headDim % 2 == 0 else {
      throw EngineError.corrupt(
        config.file,
        "tensor \(quoted(tensor.name)) has \(tensor.shape[0]) rows for \(heads) heads of "
          + "\(headDim)")
    }
    return (0..<Int32(tensor.shape[0])).map { row in
      let (head, place) = row.quotientAndRemainder(dividingBy: Int32(headDim))
      let (second, pair) = place.quotientAndRemainder(dividingBy: Int32(headDim / 2))
      return head * Int32(headDim) + 2 * pair + second
    }
  }

  func config(_ file: GGUFFile) throws -> ModelConfig {
    var keys = GGUFKeys(file, of: name)
    keys.allow(["expert_used_count", "rope.scaling.finetuned", "tensor_data_layout"])
    let names = Set(file.tensors.map(\.name))
    let hidden = try keys.size("embedding_length")
    let heads = try keys.size("attention.head_count")
    let headDim = try keys.size("attention.key_length", default: hidden / heads)
    try keys.require("attention.value_length", headDim)
    try keys.require("rope.dimension_count", headDim)
    try keys.require("expert_count", 0)
    let vocab = try vocabSize(file, &keys)
    var values: [String: JSONValue] = [
      "architectures": ["LlamaForCausalLM"],
      "model_type": "llama",
      "hidden_act": "silu",
      "hidden_size": .int(hidden),
      "num_hidden_layers": .int(try keys.size("block_count")),
      "intermediate_size": .int(try keys.size("feed_forward_length")),
      "num_attention_heads": .int(heads),
      "num_key_value_heads": .int(try keys.size("attention.head_count_kv", default: heads)),
      "head_dim": .int(headDim),
      "rms_norm_eps": .double(try keys.number("attention.layer_norm_rms_epsilon")),
      "rope_theta": .double(try keys.number("rope.freq_base", default: 10_000)),
      "max_position_embeddings": .int(try keys.size("context_length")),
      "vocab_size": .int(vocab),
      "tie_word_embeddings": .bool(!names.contains("output.weight")),
      "attention_bias": .bool(names.contains("blk.0.attn_q.bias")),
      "mlp_bias": .bool(names.contains("blk.0.ffn_up.bias")),
    ]
    values["rope_scaling"] = try ropeScaling(&keys)
    values["sliding_window"] = try keys.optionalSize("attention.sliding_window").map { .int($0) }
    for key in ["bos_token_id", "eos_token_id"] {
      values[key] = try file.tokenID(key, vocabSize: vocab).map { .int($0) }
    }
    try keys.refuseRest()
    return ModelConfig(file: file.map.path, values: values)
  }

  /// The rows of the embedding; the list of tokens may be shorter where those were padded.
  private func vocabSize(_ file: GGUFFile, _ keys: inout GGUFKeys) throws -> Int {
    let stated = try keys.optionalSize("vocab_size")
    var tokens: Int?
    if case .array(let list) = file["tokenizer.ggml.tokens"] { tokens = list.count }
    let rows = file.tensors.first { $0.name == "token_embd.weight" }?.shape[0]
    guard let size = rows ?? stated ?? tokens, size >= tokens ?? 0 else {
      throw EngineError.corrupt(
        file.map.path, "it has \(tokens ?? 0) tokens and embeddings for \(rows ?? 0)")
    }
    return size
  }

  private func ropeScaling(_ keys: inout GGUFKeys) throws -> JSONValue? {
    // `rope.scale_linear` is what files of 2023 call the factor.
    let old = try keys.optionalNumber("rope.scale_linear")
    let factor = try keys.optionalNumber("rope.scaling.factor") ?? old ?? 1
    let type = try keys.optionalString("rope.scaling.type") ?? "linear"
    guard type == "linear" || type == "none" else {
      throw keys.unsupported("'llama.rope.scaling.type' is \(quoted(type)), not 'linear'")
    }
    guard type == "linear", factor != 0, factor != 1 else { return nil }
    return ["rope_type": "linear", "factor": .double(factor)]
  }
}
