/// Writes .safetensors files, sound or not.
struct SafetensorsBuilder {
  struct Tensor {
    var name: String
    var type: String
    var shape: [Int]
    var data: [UInt8]
  }

  var tensors: [Tensor] = []

  mutating func add(_ name: String, _ type: String, _ shape: [Int], bytes: Int, fill: UInt8 = 1) {
    tensors.append(
      Tensor(name: name, type: type, shape: shape, data: Array(repeating: fill, count: bytes)))
  }

  var header: String {
    var end = 0
    let entries = tensors.map { tensor in
      let begin = end
      end += tensor.data.count
      return """
        "\(tensor.name)":{"dtype":"\(tensor.type)","shape":\(tensor.shape),\
        "data_offsets":[\(begin),\(end)]}
        """
    }
    return "{\"__metadata__\":{\"format\":\"pt\"},\(entries.joined(separator: ","))}"
  }

  var bytes: [UInt8] { Self.file(header: header, data: tensors.flatMap(\.data)) }

  static func file(header: String, data: [UInt8]) -> [UInt8] {
    .little(UInt64(header.utf8.count)) + header.utf8 + data
  }

  /// A float16 norm and a matrix of [2, 64] in 4 bits, groups of 32.
  static var small: SafetensorsBuilder {
    var builder = SafetensorsBuilder()
    builder.add("model.norm.weight", "F16", [64], bytes: 128)
    builder.add("lm_head.weight", "U32", [2, 8], bytes: 64, fill: 2)
    builder.add("lm_head.scales", "BF16", [2, 2], bytes: 8, fill: 3)
    builder.add("lm_head.biases", "BF16", [2, 2], bytes: 8, fill: 4)
    return builder
  }

  static let config = """
    {"model_type": "llama", "hidden_size": 64, "rope_theta": 1e4, "tie_word_embeddings": false,
     "quantization": {"group_size": 64, "bits": 8, "lm_head": {"group_size": 32, "bits": 4}}}
    """
}
