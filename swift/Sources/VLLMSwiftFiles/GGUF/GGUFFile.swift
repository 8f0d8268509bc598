import VLLMSwiftCore

/// A GGUF file of version 2 or 3, little-endian, as it is: nothing renamed, nothing converted.
///
/// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Opening walks the metadata
/// and the tensor list, and checks that all they point to lies in the file.
struct GGUFFile {
  struct Tensor {
    let name: String
    /// Rows first, as in [rows, columns]; the file has them the other way round.
    let shape: [Int]
    let typeNumber: UInt32
    /// Nil: a type that is newer than `GGUFTensorType`.
    let type: GGUFTensorType?
    /// Empty when `type` is nil.
    let data: UnsafeRawBufferPointer

    var typeName: String { type?.name ?? "number \(typeNumber)" }
  }

  let map: MappedFile
  /// In the order of the file.
  let metadata: [(key: String, value: GGUFValue)]
  let tensors: [Tensor]

  private let keys: [String: Int]

  subscript(key: String) -> GGUFValue? { keys[key].map { metadata[$0].value } }

  /// - Throws: `modelNotFound`; `modelCorrupt`.
  init(path: String) throws {
    map = try MappedFile(path: path)
    var reader = ByteReader(map.bytes, file: path)
    try Self.checkMagic(&reader)
    let tensorCount = try reader.readCount(ofSize: 24, "the number of tensors")
    let metadataCount = try reader.readCount(ofSize: 13, "the number of metadata keys")

    var metadata: [(key: String, value: GGUFValue)] = []
    var keys: [String: Int] = [:]
    for index in 0..<metadataCount {
      let key = try reader.readName("metadata key \(index)")
      let type = try reader.readType("the value of \(quoted(key))")
      let value = try reader.readValue(type, "the value of \(quoted(key))")
      guard keys.updateValue(index, forKey: key) == nil else {
        throw EngineError.corrupt(path, "the metadata key \(quoted(key)) is there twice")
      }
      metadata.append((key, value))
    }
    self.metadata = metadata
    self.keys = keys
    let alignment = try Self.alignment(keys["general.alignment"].map { metadata[$0].value }, path)
    tensors = try Self.readTensors(&reader, count: tensorCount, alignment: alignment)
  }

  private static func checkMagic(_ reader: inout ByteReader) throws {
    let file = reader.file
    guard try reader.take(4, "the magic number").elementsEqual("GGUF".utf8) else {
      throw EngineError(
        .modelCorrupt,
        "\(file) is not a GGUF file. A model is a .gguf file, or a folder with config.json and "
          + "*.safetensors")
    }
    let version = try reader.read(UInt32.self, "the version")
    guard version == 2 || version == 3 else {
      let isBigEndian = version.byteSwapped == 2 || version.byteSwapped == 3
      throw EngineError.corrupt(
        file,
        isBigEndian
          ? "it is a big-endian GGUF file" : "its GGUF version is \(version), not 2 or 3")
    }
  }

  private static func alignment(_ value: GGUFValue?, _ file: String) throws -> Int {
    guard let value else { return 32 }
    guard let alignment = value.int, alignment > 0, alignment <= 1 << 30,
      alignment & (alignment - 1) == 0
    else { throw EngineError.corrupt(file, "'general.alignment' is not a power of two") }
    return alignment
  }

  private static func readTensors(_ reader: inout ByteReader, count: Int, alignment: Int) throws
    -> [Tensor]
  {
    struct Info {
      let name: String
      let shape: [Int]
      let type: UInt32
      let offset: UInt64
    }
    var infos: [Info] = []
    var names: Set<String> = []
    infos.reserveCapacity(count)
    for index in 0..<count {
      let name = try reader.readName("the name of tensor \(index)")
      guard names.insert(name).inserted else {
        throw EngineError.corrupt(reader.file, "the tensor \(quoted(name)) is there twice")
      }
      infos.append(
        Info(
          name: name, shape: try reader.readShape("tensor \(quoted(name))"),
          type: try reader.read(UInt32.self, "tensor \(quoted(name))"),
          offset: try reader.read(UInt64.self, "tensor \(quoted(name))")))
    }
    let start = min((reader.offset + alignment - 1) / alignment * alignment, reader.bytes.count)
    let data = UnsafeRawBufferPointer(rebasing: reader.bytes[start...])
    let tensors = try infos.map { info in
      let type = GGUFTensorType.all[info.type]
      guard info.offset % UInt64(alignment) == 0 else {
        throw EngineError.corrupt(
          reader.file,
          "tensor \(quoted(info.name)) is at offset \(info.offset), no multiple of \(alignment)")
      }
      let size = try type.map { try $0.byteCount(info.shape, info.name, file: reader.file) } ?? 0
      guard info.offset <= UInt64(data.count), size <= UInt64(data.count) - info.offset else {
        throw EngineError.corrupt(
          reader.file,
          "tensor \(quoted(info.name)) needs \(size) bytes at offset \(info.offset) of the "
            + "\(data.count) bytes of weights")
      }
      let offset = Int(info.offset)
      return Tensor(
        name: info.name, shape: info.shape, typeNumber: info.type, type: type,
        data: UnsafeRawBufferPointer(rebasing: data[offset..<offset + Int(size)]))
    }
    try checkNoOverlap(tensors, file: reader.file)
    return tensors
  }

  private static func checkNoOverlap(_ tensors: [Tensor], file: String) throws {
    let sorted = tensors.filter { !$0.data.isEmpty }.sorted {
      UInt(bitPattern: $0.data.baseAddress) < UInt(bitPattern: $1.data.baseAddress)
    }
    for (tensor, next) in zip(sorted, sorted.dropFirst())
    where UInt(bitPattern: tensor.data.baseAddress) + UInt(tensor.data.count)
      > UInt(bitPattern: next.data.baseAddress)
    {
      throw EngineError.corrupt(
        file, "tensors \(quoted(tensor.name)) and \(quoted(next.name)) overlap")
    }
  }
}

extension GGUFTensorType {
  fileprivate func byteCount(_ shape: [Int], _ tensor: String, file: String) throws -> UInt64 {
    let columns = shape.last ?? 1
    guard columns % blockSize == 0 else {
      throw EngineError.corrupt(
        file,
        "rows of tensor \(quoted(tensor)) have \(columns) weights, no multiple of the "
          + "\(blockSize) of a \(name) block")
    }
    var size = UInt64(columns / blockSize)
    for factor in shape.dropLast() + [blockBytes] {
      let (product, overflow) = size.multipliedReportingOverflow(by: UInt64(factor))
      guard !overflow else {
        throw EngineError.corrupt(file, "tensor \(quoted(tensor)) has an impossible shape")
      }
      size = product
    }
    return size
  }
}

extension ByteReader {
  fileprivate mutating func readName(_ what: @autoclosure () -> String) throws -> String {
    guard let name = String(utf8: try readString(what())), !name.isEmpty else {
      throw EngineError.corrupt(file, "\(what()) is not a name in UTF-8")
    }
    return name
  }

  fileprivate mutating func readShape(_ what: @autoclosure () -> String) throws -> [Int] {
    let rank = try read(UInt32.self, what())
    guard (1...4).contains(rank) else {
      throw EngineError.corrupt(file, "\(what()) has \(rank) dimensions, not 1 to 4")
    }
    var shape: [Int] = []
    for _ in 0..<rank {
      let size = try read(UInt64.self, what())
      guard size > 0, size <= UInt64(Int32.max) else {
        throw EngineError.corrupt(file, "\(what()) has a dimension of \(size)")
      }
      shape.append(Int(size))
    }
    return shape.reversed()
  }
}
