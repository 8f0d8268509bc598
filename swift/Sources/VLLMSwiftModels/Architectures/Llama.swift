import VLLMSwiftCore
import VLLMSwiftFiles

/// Llama and what shares its shape: Llama 2 and 3, SmolLM2, Mistral.
/// Touvron et al., 2023 (arXiv:2302.13971, arXiv:2307.09288); Jiang et al., 2023 (arXiv:2310.06825).
public struct Llama<Operations: Ops>: Decoder {
  struct Layer {
    let inputLayernorm: RMSNorm<Operations.Vector>
    let qkvProj: Operations.Matrix  // [(heads + 2 kvHeads) * headDim, hidden]
    let selfAttn: Attention
    let oProj: Operations.Matrix  // [hidden, heads * headDim]
    let postAttentionLayernorm: RMSNorm<Operations.Vector>
    let gateUpProj: Operations.Matrix  // [2 * intermediate, hidden]
    let downProj: Operations.Matrix  // [hidden, intermediate]
  }

  let embedTokens: Operations.Matrix  // [vocabulary, hidden]
  let layers: [Layer]
  let norm: RMSNorm<Operations.Vector>
  let lmHead: Operations.Matrix  // [vocabulary, hidden]

  public func forward(_ ops: Operations) throws -> Operations.Logits {
    var h = try ops.embed(embedTokens)  // [rows, hidden]
    for layer in layers {
      h = try forward(h, layer, ops)
    }
    return try ops.logits(h, norm, lmHead)
  }

  private func forward(_ h: Operations.Rows, _ layer: Layer, _ ops: Operations) throws
    -> Operations.Rows
  {
    let qkv = try ops.normLinear(h, layer.inputLayernorm, layer.qkvProj)
    let mixed = try ops.attend(qkv, layer.selfAttn)  // [rows, heads * headDim]
    let h = try ops.linear(mixed, layer.oProj, residual: h)
    let gateUp = try ops.normLinear(h, layer.postAttentionLayernorm, layer.gateUpProj)
    return try ops.gatedLinear(gateUp, .silu, layer.downProj, residual: h)
  }
}

extension Llama {
  public init<Store>(_ config: LlamaConfig, _ weights: WeightLoader<Store>) throws
  where Store.Operations == Operations {
    let model = weights.scope("model")
    let (hidden, epsilon) = (config.hiddenSize, config.rmsNormEps)
    embedTokens = try model.matrix("embed_tokens", rows: config.vocabSize, columns: hidden)
    layers = try (0..<config.numHiddenLayers).map {
      try Layer(config, index: $0, model.scope("layers.\($0)"))
    }
    norm = try model.norm("norm", size: hidden, epsilon: epsilon)
    lmHead =
      config.tieWordEmbeddings
      ? embedTokens : try weights.matrix("lm_head", rows: config.vocabSize, columns: hidden)
  }
}

extension Llama.Layer {
  init<Store>(_ config: LlamaConfig, index: Int, _ weights: WeightLoader<Store>) throws
  where Store.Operations == Operations {
    let (hidden, intermediate) = (config.hiddenSize, config.intermediateSize)
    let epsilon = config.rmsNormEps
    let queries = config.numAttentionHeads * config.headDim
    let keys = config.numKeyValueHeads * config.headDim
    let (attention, mlp) = (weights.scope("self_attn"), weights.scope("mlp"))

    inputLayernorm = try weights.norm("input_layernorm", size: hidden, epsilon: epsilon)
    qkvProj = try attention.matrix(
      [("q_proj", queries), ("k_proj", keys), ("v_proj", keys)], columns: hidden)
    selfAttn = config.attention(layer: index)
    oProj = try attention.matrix("o_proj", rows: hidden, columns: queries)
    postAttentionLayernorm = try weights.norm(
      "post_attention_layernorm", size: hidden, epsilon: epsilon)
    gateUpProj = try mlp.matrix(
      [("gate_proj", intermediate), ("up_proj", intermediate)], columns: hidden)
    downProj = try mlp.matrix("down_proj", rows: hidden, columns: intermediate)
  }
}
