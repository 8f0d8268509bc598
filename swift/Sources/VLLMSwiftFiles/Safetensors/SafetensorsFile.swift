import VLLMSwiftCore

/// One .safetensors file, header read and checked: tensors lie in the file, one after another with
/// neither gaps nor overlaps, each as large as its shape says.
///
/// Format: https://huggingface.co/docs/safetensors/index#format
struct SafetensorsFile {
  struct Tensor {
    let name: String
    /// As the file calls it: "F32", "BF16", ...
    let type: String
    let shape: [Int]
    let data: UnsafeRawBufferPointer
    let map: MappedFile
  }

  /// The format's own bound.
  private static let maxHeaderBytes = 100_000_000

  private static let sizes = [
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "U16": 2, "I16": 2,
    "F16": 2, "BF16": 2, "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8, "C64": 8,
  ]

  /// In the order of the file.
  let tensors: [Tensor]

  /// - Throws: `modelNotFound`; `modelCorrupt`.
  init(path: String) throws {
    let map = try MappedFile(path: path)
    var reader = ByteReader(map.bytes, file: path)
    let length = try reader.read(UInt64.self, "the header's length")
    guard length <= Self.maxHeaderBytes else {
      throw EngineError.corrupt(path, "its header of \(length) bytes is no safetensors header")
    }
    let header = try JSONParser.parse(try reader.take(length, "the header"), file: path)
    guard case .object(let entries) = header else {
      throw EngineError.corrupt(path, "its header is not a JSON object")
    }
    let data = UnsafeRawBufferPointer(rebasing: map.bytes[reader.offset...])
    let sorted = try entries.filter { $0.key != "__metadata__" }
      .map { try Entry(name: $0.key, value: $0.value, file: path) }
      .sorted { ($0.begin, $0.end) < ($1.begin, $1.end) }
    var end = 0
    tensors = try sorted.map { entry in
      guard entry.begin == end, entry.end <= data.count else {
        throw EngineError.corrupt(
          path,
          "tensor \(quoted(entry.name)) is at bytes \(entry.begin) to \(entry.end) of "
            + "\(data.count); the one before ends at \(end)")
      }
      end = entry.end
      return Tensor(
        name: entry.name, type: entry.type, shape: entry.shape,
        data: UnsafeRawBufferPointer(rebasing: data[entry.begin..<entry.end]), map: map)
    }
    guard end == data.count else {
      throw EngineError.corrupt(
        path, "its tensors take \(end) bytes, \(data.count) follow the header")
    }
  }

  /// A tensor as the header has it; `begin <= end`, and the size is the shape's if the type is known.
  private struct Entry {
    let name: String
    let type: String
    let shape: [Int]
    let begin: Int
    let end: Int

    init(name: String, value: JSONValue, file: String) throws {
      guard case .string(let type) = value["dtype"], let shape = Self.sizes(value["shape"]),
        let offsets = Self.sizes(value["data_offsets"]), offsets.count == 2,
        offsets[0] <= offsets[1]
      else {
        throw EngineError.corrupt(
          file, "tensor \(quoted(name)) lacks a sound dtype, shape or data_offsets")
      }
      guard !shape.contains(0) else {
        throw EngineError.corrupt(file, "tensor \(quoted(name)) has a dimension of 0")
      }
      (self.name, self.type, self.shape) = (name, type, shape)
      (begin, end) = (offsets[0], offsets[1])
      guard let size = SafetensorsFile.sizes[type] else { return }
      guard product(shape, size) == end - begin else {
        throw EngineError.corrupt(
          file,
          "tensor \(quoted(name)) has \(end - begin) bytes, which is not the size of \(type) "
            + "\(shape)")
      }
    }

    private static func sizes(_ value: JSONValue?) -> [Int]? {
      guard case .array(let elements) = value, elements.count <= 8 else { return nil }
      let sizes: [Int] = elements.compactMap {
        if case .int(let size) = $0, size >= 0 { return size }
        return nil
      }
      return sizes.count == elements.count ? sizes : nil
    }
  }
}

/// Nil on overflow.
private func product(_ factors: [Int], _ first: Int) -> Int? {
  var product = first
  for factor in factors {
    let (next, overflow) = product.multipliedReportingOverflow(by: factor)
    if overflow { return nil }
    product = next
  }
  return product
}
