import Foundation
import Testing
import VLLMSwiftCore

@testable import VLLMSwiftFiles

@Suite struct ShardTests {
  let folder: TemporaryFolder

  init() throws {
    folder = try TemporaryFolder()
    try folder.write(SafetensorsBuilder.config, to: "config.json")
    var (first, second) = (SafetensorsBuilder.small, SafetensorsBuilder.small)
    first.tensors.removeLast(2)
    second.tensors.removeFirst(2)
    try folder.write(first.bytes, to: "a.safetensors")
    try folder.write(second.bytes, to: "b.safetensors")
  }

  func open(_ places: [String: String]) throws -> any Checkpoint {
    let index = try JSONSerialization.data(withJSONObject: ["weight_map": places])
    try folder.write(Array(index), to: "model.safetensors.index.json")
    return try openCheckpoint(folder.path)
  }

  @Test func aWeightMayBeSpreadOverShards() throws {
    let checkpoint = try open([
      "model.norm.weight": "a.safetensors", "lm_head.weight": "a.safetensors",
      "lm_head.scales": "b.safetensors", "lm_head.biases": "b.safetensors",
    ])
    let head = try #require(try checkpoint.tensor("lm_head.weight"))
    #expect(try head.affine().biases == Array(repeating: 4, count: 8))
    checkpoint.release(head)
    #expect(try head.affine().packed.count == 16)
    try checkpoint.validate()
  }

  @Test(arguments: [
    "../a.safetensors", "/etc/passwd", "x/a.safetensors", "..", "", "config.json",
    "..\\a.safetensors", "a.safetensors\u{0}.safetensors",
  ])
  func shardsLieInTheFolder(_ shard: String) throws {
    expectError(.modelCorrupt, naming: "'lm_head.weight'", "index.json") {
      _ = try open(["lm_head.weight": shard])
    }
  }

  @Test func indexAndShardsMustAgree() throws {
    expectError(.modelNotFound, naming: "'c.safetensors'") { _ = try open(["x": "c.safetensors"]) }
    expectError(.modelCorrupt, naming: "'x'", "a.safetensors") {
      _ = try open(["x": "a.safetensors"])
    }
    try folder.write(SafetensorsBuilder.small.bytes, to: "b.safetensors")
    expectError(.modelCorrupt, naming: "a.safetensors", "b.safetensors") {
      _ = try open(["lm_head.weight": "a.safetensors", "lm_head.scales": "b.safetensors"])
    }
    for index in ["{}", "[]", "{\"weight_map\": []}", "{\"weight_map\": {\"x\": 1}}"] {
      try folder.write(index, to: "model.safetensors.index.json")
      expectError(.modelCorrupt, naming: "index.json") { _ = try openCheckpoint(folder.path) }
    }
  }
}
