import VLLMSwiftCore

// The prefix cache as C functions, for the model-based test in tests/unit/core. Prefixes cross as
// numbers that a probe gives them; -1 is none.

final class Probe {
  var cache: PrefixCache
  var prefixes: [PrefixIndex.Parent] = []

  init(capacity: Int) {
    cache = PrefixCache(capacity: capacity)
  }

  func name(_ prefix: PrefixIndex.Parent) -> Int32 {
    prefixes.append(prefix)
    return Int32(prefixes.count - 1)
  }
}

private func probe(_ handle: UnsafeRawPointer) -> Probe {
  Unmanaged<Probe>.fromOpaque(handle).takeUnretainedValue()
}

private func array(_ pointer: UnsafePointer<Int32>, _ count: Int32) -> [Int32] {
  Array(UnsafeBufferPointer(start: pointer, count: Int(count)))
}

@_cdecl("probe_create")
public func create(capacity: Int32) -> UnsafeMutableRawPointer {
  Unmanaged.passRetained(Probe(capacity: Int(capacity))).toOpaque()
}

@_cdecl("probe_destroy")
public func destroy(handle: UnsafeRawPointer) {
  Unmanaged<Probe>.fromOpaque(handle).release()
}

/// - Returns: how many `blocks` were found; `end` is the prefix that they are.
@_cdecl("probe_match")
public func match(
  handle: UnsafeRawPointer, tokens: UnsafePointer<Int32>, count: Int32, salt: UInt8, limit: Int32,
  blocks: UnsafeMutablePointer<Int32>, end: UnsafeMutablePointer<Int32>
) -> Int32 {
  let probe = probe(handle)
  let match = probe.cache.match(array(tokens, count), salt: [salt], limit: Int(limit))
  for (index, block) in match.blocks.enumerated() { blocks[index] = block }
  end.pointee = probe.name(match.end)
  return Int32(match.blocks.count)
}

@_cdecl("probe_take")
public func take(handle: UnsafeRawPointer) -> Int32 { probe(handle).cache.take() ?? -1 }

@_cdecl("probe_hold")
public func hold(handle: UnsafeRawPointer, blocks: UnsafePointer<Int32>, count: Int32) {
  probe(handle).cache.hold(array(blocks, count))
}

@_cdecl("probe_let_go")
public func letGo(handle: UnsafeRawPointer, blocks: UnsafePointer<Int32>, count: Int32) {
  probe(handle).cache.letGo(array(blocks, count))
}

@_cdecl("probe_register")
public func register(
  handle: UnsafeRawPointer, tokens: UnsafePointer<Int32>, after: Int32, block: Int32
) -> Int32 {
  let probe = probe(handle)
  let prefix = probe.cache.register(
    array(tokens, Int32(kvBlockTokens))[...], after: probe.prefixes[Int(after)], block: block)
  return prefix.map(probe.name) ?? -1
}

@_cdecl("probe_reset")
public func reset(handle: UnsafeRawPointer) { probe(handle).cache.reset() }

@_cdecl("probe_available")
public func available(handle: UnsafeRawPointer) -> Int32 { Int32(probe(handle).cache.available) }

@_cdecl("probe_idle")
public func idle(handle: UnsafeRawPointer) -> Int32 { Int32(probe(handle).cache.idle) }
