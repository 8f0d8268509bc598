import VLLMSwiftCore

private let tokenizerPrefix = "tokenizer.ggml."

extension GGUFFile {
  /// The `tokenizer.ggml.*` keys without their prefix; `token_type` is called `token_types`.
  func tokenizerJSON() throws -> [UInt8] {
    let entries = metadata.filter { $0.key.hasPrefix(tokenizerPrefix) }
    // A string's quotes and comma take less than its length in the file does.
    var json = JSONWriter(capacity: entries.reduce(1024) { $0 + $1.value.arrayBytes })
    json.beginObject()
    for (key, value) in entries {
      let name = String(key.dropFirst(tokenizerPrefix.count))
      json.key(name == "token_type" ? "token_types" : name)
      try write(value, of: key, to: &json)
    }
    json.endObject()
    return json.bytes
  }

  /// Every other key, as in the file.
  func metadataJSON() throws -> [UInt8] {
    var json = JSONWriter(capacity: 1 << 14)
    json.beginObject()
    for (key, value) in metadata where !key.hasPrefix(tokenizerPrefix) {
      json.key(key)
      try write(value, of: key, to: &json)
    }
    json.endObject()
    return json.bytes
  }

  /// An ID under `tokenizer.ggml.`.
  func tokenID(_ key: String, vocabSize: Int) throws -> Int? {
    guard let value = self[tokenizerPrefix + key] else { return nil }
    guard let id = value.int, (0..<vocabSize).contains(id) else {
      throw EngineError.corrupt(
        map.path, "'\(tokenizerPrefix)\(key)' is not one of the \(vocabSize) tokens")
    }
    return id
  }

  private func write(_ value: GGUFValue, of key: String, to json: inout JSONWriter) throws {
    switch value {
    case .unsigned(let value): json.value(value)
    case .signed(let value): json.value(value)
    case .float(let value): json.value(value)
    case .double(let value): json.value(value)
    case .bool(let value): json.value(value)
    case .string(let bytes): try write(bytes, of: key, to: &json)
    case .array(let array):
      var reader = ByteReader(array.bytes, file: map.path)
      json.beginArray()
      for _ in 0..<array.count {
        try write(try reader.readValue(array.elementType, key), of: key, to: &json)
      }
      json.endArray()
    }
  }

  private func write(_ string: UnsafeRawBufferPointer, of key: String, to json: inout JSONWriter)
    throws
  {
    guard isValidUTF8(string) else {
      throw EngineError.corrupt(map.path, "the value of \(quoted(key)) is not UTF-8")
    }
    json.string(utf8: string)
  }
}
