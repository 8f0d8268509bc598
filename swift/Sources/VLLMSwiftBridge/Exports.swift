import CVLLMSwift
import MLXArray
import VLLMSwiftCore
import VLLMSwiftEngine
import VLLMSwiftFiles
import VLLMSwiftModels

// The functions of vllm_swift.h, which says what each does: convert, call, map errors, nothing else.

// MARK: - Version

@_cdecl("vsw_abi_version")
public func abiVersion() -> UInt32 { UInt32(VSW_ABI_VERSION) }

@_cdecl("vsw_mlx_version_built")
public func mlxVersionBuilt() -> UnsafePointer<CChar>? { MLX.versionBuilt }

@_cdecl("vsw_mlx_version_loaded")
public func mlxVersionLoaded() -> UnsafePointer<CChar>? { MLX.versionLoaded }

// MARK: - Model files

@_cdecl("vsw_model_file_open")
public func modelFileOpen(
  _ path: UnsafePointer<CChar>?, _ file: UnsafeMutablePointer<OpaquePointer?>?,
  _ error: UnsafeMutablePointer<vsw_error>?
) -> vsw_status {
  status(error) {
    let file = try required(file, "file")
    let path = String(cString: try required(path, "path"))
    file.pointee = Handles.files.insert(OpenFile(try openCheckpoint(path)))
  }
}

@_cdecl("vsw_model_file_json")
public func modelFileJSON(
  _ file: OpaquePointer?, _ section: UnsafePointer<CChar>?,
  _ json: UnsafeMutablePointer<UnsafePointer<CChar>?>?, _ size: UnsafeMutablePointer<Int>?,
  _ error: UnsafeMutablePointer<vsw_error>?
) -> vsw_status {
  status(error) {
    let (json, size) = (try required(json, "json"), try required(size, "size"))
    let name = String(cString: try required(section, "section"))
    guard let section = CheckpointSection(rawValue: name) else {
      let known = CheckpointSection.allCases.map(\.rawValue).joined(separator: ", ")
      throw EngineError(.invalidArgument, "section is '\(name)', and must be one of \(known)")
    }
    (json.pointee, size.pointee) = try Handles.files.object(file).json(section)
  }
}

@_cdecl("vsw_model_file_close")
public func modelFileClose(_ file: OpaquePointer?) {
  _ = Handles.files.remove(file)
}

// MARK: - Runtime

@_cdecl("vsw_runtime_create")
public func runtimeCreate(
  _ params: UnsafePointer<vsw_runtime_params>?, _ runtime: UnsafeMutablePointer<OpaquePointer?>?,
  _ error: UnsafeMutablePointer<vsw_error>?
) -> vsw_status {
  status(error) {
    let runtime = try required(runtime, "runtime")
    if let params {
      try vsw_runtime_params.check(params)
      try refuse(unless: params.pointee.reserved == 0, "a reserved field of vsw_runtime_params")
    }
    let threads = Int(params?.pointee.threads ?? 0)
    runtime.pointee = Handles.runtimes.insert(try Runtime(threads: threads))
  }
}

@_cdecl("vsw_runtime_destroy")
public func runtimeDestroy(_ runtime: OpaquePointer?) {
  Handles.runtimes.remove(runtime)?.close()
}

@_cdecl("vsw_runtime_get_stats")
public func runtimeGetStats(
  _ runtime: OpaquePointer?, _ stats: UnsafeMutablePointer<vsw_stats>?,
  _ error: UnsafeMutablePointer<vsw_error>?
) -> vsw_status {
  status(error) {
    let stats = try required(stats, "stats")
    try vsw_stats.check(stats)
    let (counters, latencies, models) = try Handles.runtimes.object(runtime).stats()
    let schedule = counters.schedule
    var result = vsw_stats()
    result.models = UInt32(clamping: models)
    result.running = UInt32(clamping: schedule.running)
    result.waiting = UInt32(clamping: schedule.waiting)
    result.prompt_tokens = UInt64(counters.promptTokens)
    result.output_tokens = UInt64(counters.outputTokens)
    result.steps = UInt64(counters.steps)
    result.kv_blocks = UInt64(schedule.blocks)
    result.kv_blocks_used = UInt64(schedule.blocksUsed)
    result.mlx_active_bytes = UInt64(MLX.activeBytes)
    result.preemptions = UInt64(schedule.preemptions)
    result.prefix_queries = UInt64(schedule.prefixQueries)
    result.prefix_hits = UInt64(schedule.prefixHits)
    result.kv_blocks_cached = UInt64(schedule.blocksCached)
    copy(Histogram.bounds, to: &result.latency_bounds_us)
    result.queue_time = vsw_histogram(latencies.queue)
    result.time_to_first_token = vsw_histogram(latencies.firstToken)
    result.inter_token_time = vsw_histogram(latencies.interToken)
    result.request_time = vsw_histogram(latencies.request)
    result.masks = UInt64(counters.masks)
    result.mask_us = counters.maskTime.microseconds
    vsw_stats.write(result, to: stats)
  }
}

@_cdecl("vsw_machine_memory")
public func machineMemory(_ device: Int32) -> UInt64 {
  let device = ModelOptions.Device(rawValue: device) ?? .cpu
  return UInt64(Machine.memoryBytes(of: device))
}

// MARK: - Models

@_cdecl("vsw_model_load")
public func modelLoad(
  _ runtime: OpaquePointer?, _ file: OpaquePointer?, _ params: UnsafePointer<vsw_model_params>?,
  _ model: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<vsw_error>?
) -> vsw_status {
  status(error) {
    let model = try required(model, "model")
    if let params { try vsw_model_params.check(params) }
    let options = try params.map { try ModelOptions($0.pointee) } ?? ModelOptions()
    let runtime = try Handles.runtimes.object(runtime)
    let checkpoint = try Handles.files.object(file).checkpoint
    let id = try runtime.load(checkpoint, options)
    model.pointee = Handles.models.insert(LoadedModel(runtime: runtime, id: id))
  }
}

@_cdecl("vsw_model_get_info")
public func modelGetInfo(
  _ model: OpaquePointer?, _ info: UnsafeMutablePointer<vsw_model_info>?,
  _ error: UnsafeMutablePointer<vsw_error>?
) -> vsw_status {
  status(error) {
    let info = try required(info, "info")
    try vsw_model_info.check(info)
    let model = try Handles.models.object(model)
    let summary = try model.runtime.summary(model.id)
    var result = vsw_model_info()
    result.struct_size = info.pointee.struct_size
    result.vocab_size = UInt32(clamping: summary.limits.vocabularySize)
    result.max_model_len = UInt32(clamping: summary.limits.maxModelLength)
    result.hidden_size = UInt32(clamping: summary.hiddenSize)
    result.device = summary.device.rawValue
    result.kernels = summary.kernels.rawValue
    result.weight_bytes = UInt64(summary.weightBytes)
    result.kv_bytes = UInt64(summary.cacheBytes)
    result.kv_block_tokens = UInt32(kvBlockTokens)
    result.kv_blocks = UInt32(clamping: summary.cacheBlocks)
    withUnsafeMutableBytes(of: &result.kernels_note) { fill($0, with: summary.kernelsNote) }
    info.pointee = result
  }
}

@_cdecl("vsw_model_logits")
public func modelLogits(
  _ model: OpaquePointer?, _ tokens: UnsafePointer<Int32>?, _ count: Int,
  _ logits: UnsafeMutablePointer<Float>?, _ capacity: Int,
  _ error: UnsafeMutablePointer<vsw_error>?
) -> vsw_status {
  status(error) {
    let model = try Handles.models.object(model)
    let destination = UnsafeMutableBufferPointer(
      start: try required(logits, "logits"), count: max(0, capacity))
    try model.runtime.logits(
      model.id, try array(tokens, count: count, "tokens"), into: destination)
  }
}

@_cdecl("vsw_model_destroy")
public func modelDestroy(_ model: OpaquePointer?) {
  guard let model = Handles.models.remove(model) else { return }
  model.runtime.unload(model.id)
}

@_cdecl("vsw_embed")
public func embed(
  _ model: OpaquePointer?, _ tokens: UnsafePointer<Int32>?, _ lengths: UnsafePointer<Int>?,
  _ count: Int, _ embeddings: UnsafeMutablePointer<Float>?, _ capacity: Int,
  _ error: UnsafeMutablePointer<vsw_error>?
) -> vsw_status {
  status(error) {
    _ = try Handles.models.object(model)
    throw EngineError(.unsupported, "embeddings are not supported by this version of the engine")
  }
}
