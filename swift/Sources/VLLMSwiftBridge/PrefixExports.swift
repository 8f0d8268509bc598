import CVLLMSwift
import VLLMSwiftCore
import VLLMSwiftEngine

@_cdecl("vsw_prefix_pin")
public func prefixPin(
  _ model: OpaquePointer?, _ tokens: UnsafePointer<Int32>?, _ count: Int,
  _ prefix: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<vsw_error>?
) -> vsw_status {
  status(error) {
    let prefix = try required(prefix, "prefix")
    let model = try Handles.models.object(model)
    let pinned = try model.runtime.pin(try array(tokens, count: count, "tokens"), of: model.id)
    prefix.pointee = Handles.prefixes.insert(KeptPrefix(runtime: model.runtime, pinned: pinned))
  }
}

@_cdecl("vsw_prefix_get_info")
public func prefixGetInfo(
  _ prefix: OpaquePointer?, _ info: UnsafeMutablePointer<vsw_prefix_info>?,
  _ error: UnsafeMutablePointer<vsw_error>?
) -> vsw_status {
  status(error) {
    let info = try required(info, "info")
    try vsw_prefix_info.check(info)
    let pinned = try Handles.prefixes.object(prefix).pinned
    info.pointee.token_count = UInt32(clamping: pinned.tokens.count)
    info.pointee.bytes = UInt64(pinned.byteCount)
  }
}

@_cdecl("vsw_prefix_read")
public func prefixRead(
  _ prefix: OpaquePointer?, _ contents: UnsafeMutableRawPointer?, _ capacity: Int,
  _ error: UnsafeMutablePointer<vsw_error>?
) -> vsw_status {
  status(error) {
    let kept = try Handles.prefixes.object(prefix)
    guard let contents, capacity >= kept.pinned.byteCount else {
      throw EngineError(
        .invalidArgument, "contents has no room for the prefix's \(kept.pinned.byteCount) bytes")
    }
    UnsafeMutableRawBufferPointer(start: contents, count: capacity)
      .copyBytes(from: try kept.runtime.contents(of: kept.pinned))
  }
}

@_cdecl("vsw_prefix_load")
public func prefixLoad(
  _ model: OpaquePointer?, _ tokens: UnsafePointer<Int32>?, _ count: Int,
  _ contents: UnsafeRawPointer?, _ size: Int, _ prefix: UnsafeMutablePointer<OpaquePointer?>?,
  _ error: UnsafeMutablePointer<vsw_error>?
) -> vsw_status {
  status(error) {
    let prefix = try required(prefix, "prefix")
    let model = try Handles.models.object(model)
    let bytes = contents?.assumingMemoryBound(to: UInt8.self)
    let pinned = try model.runtime.adopt(
      try array(tokens, count: count, "tokens"),
      contents: try array(bytes, count: size, "contents"), into: model.id)
    prefix.pointee = Handles.prefixes.insert(KeptPrefix(runtime: model.runtime, pinned: pinned))
  }
}

@_cdecl("vsw_prefix_destroy")
public func prefixDestroy(_ prefix: OpaquePointer?) {
  guard let kept = Handles.prefixes.remove(prefix) else { return }
  kept.runtime.unpin(kept.pinned)
}
