import Foundation
import Testing
import VLLMSwiftCore

@testable import VLLMSwiftFiles

@Suite struct SafetensorsFolderTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  func open(
    _ builder: SafetensorsBuilder = .small, config: String = SafetensorsBuilder.config
  ) throws -> any Checkpoint {
    try folder.write(builder.bytes, to: "model.safetensors")
    try folder.write(config, to: "config.json")
    return try openCheckpoint(folder.path)
  }

  func expect(
    _ code: EngineError.Code, _ culprit: String, config: String = SafetensorsBuilder.config,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ change: (inout SafetensorsBuilder) -> Void = { _ in }
  ) throws {
    var builder = SafetensorsBuilder.small
    change(&builder)
    expectError(code, naming: culprit, sourceLocation: sourceLocation) {
      try open(builder, config: config).validate()
    }
  }

  @Test func floatAndQuantizedTensorsAreRead() throws {
    let checkpoint = try open()
    #expect(checkpoint.tensorNames == ["model.norm.weight", "lm_head.weight"])
    let norm = try #require(try checkpoint.tensor("model.norm.weight"))
    #expect(norm.shape == [64])
    #expect(norm.format == .float16)
    #expect(Array(norm.data) == Array(repeating: 1, count: 128))
    let head = try #require(try checkpoint.tensor("lm_head.weight"))
    #expect(head.shape == [2, 64])
    #expect(head.format == .affine(bits: 4, groupSize: 32))
    #expect(head.scaleType == .bfloat16)
    #expect(head.byteCount == 80)
    let affine = try head.affine()
    #expect(affine.packed == Array(repeating: 0x0202_0202, count: 16))
    #expect(affine.scales == Array(repeating: 3, count: 8))
    #expect(affine.biases == Array(repeating: 4, count: 8))
    try checkpoint.validate()
    checkpoint.release(head)
    #expect(try head.affine().scales == affine.scales)
  }

  @Test func sectionsAreJSON() throws {
    let checkpoint = try open()
    #expect(try String(decoding: checkpoint.json(.tokenizer), as: UTF8.self) == "null")
    #expect(try String(decoding: checkpoint.json(.metadata), as: UTF8.self) == "null")
    #expect(
      try String(decoding: checkpoint.json(.config), as: UTF8.self)
        == #"{"hidden_size":64,"model_type":"llama","quantization":{"bits":8,"group_size":64,"#
        + #""lm_head":{"bits":4,"group_size":32}},"rope_theta":10000.0,"#
        + #""tie_word_embeddings":false}"#)
    #expect(
      try String(decoding: checkpoint.json(.tensors), as: UTF8.self)
        == #"[{"name":"model.norm.weight","shape":[64],"format":"F16","bytes":128},"#
        + #"{"name":"lm_head.weight","shape":[2,64],"format":"affine-4bit-g32","bytes":80}]"#)
  }

  @Test func missingFilesAreNamed() throws {
    expectError(.modelNotFound, naming: "config.json") { _ = try openCheckpoint(folder.path) }
    try folder.write(SafetensorsBuilder.config, to: "config.json")
    expectError(.modelNotFound, naming: "model.safetensors") {
      _ = try openCheckpoint(folder.path)
    }
    expectError(.modelNotFound, naming: "/nowhere") { _ = try openCheckpoint("/nowhere/at.gguf") }
    expectError(.modelNotFound) { _ = try openCheckpoint("") }
  }

  @Test(arguments: [
    "", "[]", "{", "{\"a\": 1,}", "{\"a\": 1} x", "{\"a\": 1, \"a\": 2}", "\u{0}",
    "{\"quantization\": 4}", "{\"quantization\": {\"bits\": 4}}",
    "{\"quantization\": {\"bits\": \"4\", \"group_size\": 64}}", "{}",
  ])
  func brokenConfigsAreNamed(_ config: String) throws {
    try expect(.modelCorrupt, "config.json", config: config)
  }

  @Test(arguments: [
    (#""quant_method": "gptq", "bits": 4"#, "gptq"),
    (#""mode": "mxfp4", "bits": 4, "group_size": 32"#, "mxfp4"),
    (#""bits": 7, "group_size": 32"#, "7 bits"), (#""bits": 4, "group_size": 16"#, "16"),
    (#""bits": 4, "group_size": 32, "x": {"mode": "nvfp4"}"#, "nvfp4"),
  ])
  func otherQuantizationsAreNamed(_ section: String, _ culprit: String) throws {
    for key in ["quantization", "quantization_config"] {
      try expect(.unsupportedQuantization, culprit, config: "{\"\(key)\": {\(section)}}")
    }
  }

  @Test func partsOfAQuantizedWeightMustFit() throws {
    try expect(.modelCorrupt, "'lm_head.scales' is missing") { $0.tensors[2].name = "x" }
    try expect(.modelCorrupt, "'lm_head.biases' is missing") { $0.tensors[3].name = "x" }
    try expect(.modelCorrupt, "'lm_head.scales' has the shape") { $0.tensors[2].shape = [4, 1] }
    try expect(.modelCorrupt, "'lm_head.weight' of shape") { $0.tensors[1].shape = [16, 1] }
    try expect(.modelCorrupt, "'lm_head.weight' of shape") { $0.tensors[1].shape = [16] }
    try expect(.unsupportedQuantization, "'lm_head.weight'") { $0.tensors[2].type = "I16" }
    try expect(.unsupportedQuantization, "'lm_head.weight'") { $0.tensors[3].type = "F16" }
  }

  @Test func layersNeedTensors() throws {
    try expect(
      .modelCorrupt, "'num_hidden_layers' is 2147483647",
      config: #"{"num_hidden_layers": 2147483647}"#)
  }

  @Test func otherTypesAreNamed() throws {
    for type in ["I16", "U16", "F4_E2M1"] {
      try expect(.unsupportedQuantization, "'model.norm.weight' has the type '\(type)'") {
        $0.tensors[0].type = type
      }
    }
    try expect(.unsupportedQuantization, "'x' has the type 'U32'") { $0.tensors[1].name = "x" }
  }

  @Test func headersMustFitTheirFile() throws {
    let data = [UInt8](repeating: 0, count: 8)
    func tensor(
      _ name: String, _ offsets: String, shape: String = "[2]", type: String = #""F32""#
    ) -> String {
      #""\#(name)":{"dtype":\#(type),"shape":\#(shape),"data_offsets":\#(offsets)}"#
    }
    try folder.write(SafetensorsBuilder.config, to: "config.json")
    for (header, culprit) in [
      ("[]", "JSON object"), ("{", "JSON"), ("\"", "JSON"), ("{}", "8 follow the header"),
      (tensor("a", "[0,8]") + "," + tensor("a", "[0,8]"), "'a' is there twice"),
      (tensor("a", "[0,8]") + "," + tensor("b", "[4,12]"), "'b'"),
      (tensor("a", "[0,8]") + "," + tensor("b", "[0,8]"), "the one before ends at 8"),
      (tensor("a", "[4,12]"), "'a'"), (tensor("a", "[0,4]", shape: "[1]"), "4 bytes"),
      (tensor("a", "[8,0]"), "'a'"), (tensor("a", "[-8,0]"), "'a'"), (tensor("a", "[0]"), "'a'"),
      (tensor("a", "[0,8,8]"), "'a'"), (tensor("a", "[0.0,8.5]"), "'a'"),
      (tensor("a", "[0,8]", shape: "[0]"), "dimension of 0"),
      (tensor("a", "[0,8]", shape: "[-2]"), "'a'"), (tensor("a", "[0,8]", shape: "2"), "'a'"),
      (tensor("a", "[0,8]", shape: "[3]"), "size of F32 [3]"),
      (tensor("a", "[0,8]", shape: "[4611686018427387904,4]"), "size of F32"),
      (tensor("a", "[0,9223372036854775807]", type: #""F4""#), "'a'"),
      (tensor("a", "[0,18446744073709551616]"), "'a'"), (tensor("a", "[0,8]", type: "1"), "'a'"),
      ("\"a\":{}", "'a'"), ("\"a\":null", "'a'"),
    ] {
      let text = header.hasPrefix("\"a") ? "{\(header)}" : header
      try folder.write(SafetensorsBuilder.file(header: text, data: data), to: "model.safetensors")
      expectError(.modelCorrupt, naming: "model.safetensors", culprit) {
        _ = try openCheckpoint(folder.path)
      }
    }
  }

  @Test func aFileCutAnywhereIsRefused() throws {
    let bytes = SafetensorsBuilder.small.bytes
    try folder.write(SafetensorsBuilder.config, to: "config.json")
    let path = try folder.write(bytes, to: "model.safetensors")
    for length in bytes.indices.reversed() {
      try #require(truncate(path, length) == 0)
      expectError(.modelCorrupt, naming: "model.safetensors") {
        _ = try openCheckpoint(folder.path)
      }
    }
    for length in [UInt64(0), 1, 100_000_001, 1 << 63, .max] {
      try folder.write(.little(length) + bytes.dropFirst(8), to: "model.safetensors")
      expectError(.modelCorrupt, naming: "model.safetensors") {
        _ = try openCheckpoint(folder.path)
      }
    }
  }
}
