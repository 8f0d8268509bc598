import Foundation
import Testing
import VLLMSwiftCore

@testable import VLLMSwiftFiles

@Suite struct JSONTests {
  func parse(_ bytes: [UInt8]) throws -> JSONValue {
    try bytes.withUnsafeBytes { try JSONParser.parse($0, file: "x.json") }
  }

  func parse(_ text: String) throws -> JSONValue { try parse(Array(text.utf8)) }

  @Test(
    arguments: [
      ("null", .null), (" true ", .bool(true)), ("false", .bool(false)), ("0", .int(0)),
      ("-12", .int(-12)), ("9223372036854775807", .int(.max)),
      ("9223372036854775808", .double(9.223372036854775808e18)), ("1.0", .double(1)),
      ("-1.5e-3", .double(-0.0015)), ("1E+2", .double(100)), ("Infinity", .double(.infinity)),
      ("-Infinity", .double(-.infinity)), ("\"\"", .string("")),
      (#""a\"\\\/\b\f\n\r\tü\u00fc\ud83d\ude00""#, .string("a\"\\/\u{8}\u{C}\n\r\tüü😀")),
      ("[]", .array([])), ("[1, [2], {}]", .array([.int(1), .array([.int(2)]), .object([:])])),
      ("{\"a\" : {\"b\":\n[null]}}", .object(["a": .object(["b": .array([.null])])])),
    ] as [(String, JSONValue)])
  func valuesAreRead(_ text: String, _ value: JSONValue) throws {
    #expect(try parse(text) == value)
  }

  @Test(arguments: [
    "", " ", "nul", "nulll", "01", "-", "+1", ".5", "1.", "1e", "1e+", "--1", "-x", "0x1", "[",
    "[1",
    "[1,", "[1,]", "[,]", "]", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}",
    "{a:1}", "{1:1}", "{\"a\" 1}", "{\"a\":1,\"a\":1}", "\"", "\"\\", "\"\\x\"", "\"\\u12\"",
    "\"\\u12", "\"\\u12g4\"", "\"\\ud800\"", "\"\\ud800\\u0020\"", "\"\\ude00\"", "\"\n\"", "1 1",
    "\u{FEFF}1", "'a'", "-I", "Inf",
  ])
  func brokenTextIsRefused(_ text: String) {
    expectError(.modelCorrupt, naming: "x.json") { _ = try parse(text) }
  }

  @Test func deepNestingIsRefused() {
    for open in ["[", "{\"a\":"] {
      expectError(.modelCorrupt, naming: "nested") {
        _ = try parse(String(repeating: open, count: 1_000_000))
      }
    }
  }

  /// One of each kind of ill-formed sequence, from the Unicode standard's tables 3-7 to 3-11.
  @Test(
    arguments: [
      [0x80], [0xBF], [0xC0, 0xAF], [0xC1, 0xBF], [0xC2], [0xC2, 0x41], [0xE0, 0x9F, 0xBF],
      [0xE1, 0x80], [0xE1, 0x80, 0x41], [0xED, 0xA0, 0x80], [0xF0, 0x8F, 0xBF, 0xBF],
      [0xF1, 0x80, 0x80], [0xF1, 0x80, 0x80, 0xC0], [0xF4, 0x90, 0x80, 0x80],
      [0xF5, 0x80, 0x80, 0x80],
      [0xFF],
    ] as [[UInt8]])
  func illFormedUTF8IsRefused(_ bytes: [UInt8]) {
    bytes.withUnsafeBytes { #expect(!isValidUTF8($0)) }
    expectError(.modelCorrupt, naming: "UTF-8") { _ = try parse([0x22] + bytes + [0x22]) }
  }

  @Test func everyScalarIsWellFormed() {
    for number in UInt32(0)...0x10FFFF {
      guard let scalar = Unicode.Scalar(number) else { continue }
      let valid = Array(String(scalar).utf8).withUnsafeBytes { isValidUTF8($0) }
      if !valid { Issue.record("U+\(String(number, radix: 16))") }
    }
  }

  @Test func textSurvivesARoundTrip() throws {
    let text = String((0...0x7F).compactMap { Unicode.Scalar($0) }.map(Character.init)) + "ü€😀"
    let value: JSONValue = [
      text: [.string(text), 1, -2.5, true, .null, .int(.min), .double(1e300), .double(1e-300)],
      "nested": ["empty": [:], "list": []],
    ]
    var writer = JSONWriter()
    writer.value(value)
    #expect(try parse(writer.bytes) == value)
    let read = try #require(
      JSONSerialization.jsonObject(with: Data(writer.bytes)) as? [String: Any])
    #expect((read[text] as? [Any])?.first as? String == text)
  }

  @Test func lookupsNameFileAndKey() throws {
    let config = ModelConfig(
      file: "c.json", values: ["s": "x", "i": 3, "d": 3.0, "f": 0.5, "n": .null, "z": 0, "b": true])
    #expect(try config.int("d") == 3)
    #expect(try config.double("i") == 3)
    #expect(try config.string("s") == "x")
    #expect(try config.bool("b") == true)
    #expect(try config.int("n") == nil)
    expectError(.modelCorrupt, naming: "c.json", "'s'") { _ = try config.int("s") }
    expectError(.modelCorrupt, naming: "c.json", "'f'") { _ = try config.int("f") }
    expectError(.modelCorrupt, naming: "c.json", "'z'") { _ = try config.size("z") }
    expectError(.modelCorrupt, naming: "c.json", "'n'") { _ = try config.requiredSize("n") }
    expectError(.modelCorrupt, naming: "c.json", "'q'") { _ = try config.requiredDouble("q") }
    expectError(.modelCorrupt, naming: "c.json", "'i'") { _ = try config.string("i") }
    expectError(.modelCorrupt, naming: "c.json", "'s'") { _ = try config.bool("s") }
    expectError(.modelCorrupt, naming: "c.json", "'s'") { _ = try config.object("s") }
    expectError(.modelCorrupt, naming: "c.json", "'s'") { _ = try config.double("s") }
  }
}
