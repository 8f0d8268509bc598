// swift-tools-version: 6.0
import PackageDescription

// Headers and libmlx lie where the build hook puts them (see hatch_build.py): a stable place, so
// that a rebuild is incremental although each isolated build environment has its own mlx wheel.
let mlx = "\(Context.packageDirectory)/.mlx/current/mlx"

// The library finds libmlx beside itself in site-packages; the tests find it where it was built.
#if os(macOS)
  let libraryPath = "@loader_path/../../mlx/lib"
#else
  let libraryPath = "$ORIGIN/../../mlx/lib"
#endif

// As system headers, whose warnings are not ours.
let mlxHeaders: [CXXSetting] = [.unsafeFlags(["-isystem\(mlx)/include", "-fno-cxx-modules"])]
let mlxLibrary: [LinkerSetting] = [
  .unsafeFlags([
    "-L\(mlx)/lib", "-lmlx",
    "-Xlinker", "-rpath", "-Xlinker", libraryPath,
  ])
]
let testLinking: [LinkerSetting] = [.unsafeFlags(["-Xlinker", "-rpath", "-Xlinker", "\(mlx)/lib"])]

let package = Package(
  name: "VLLMSwift",
  platforms: [.macOS(.v14)],
  products: [
    .library(name: "vllmswift", type: .dynamic, targets: ["VLLMSwiftBridge"]),
    // For a test in Python, and never shipped.
    .library(name: "coreprobe", type: .dynamic, targets: ["CoreProbe"]),
  ],
  // The arrows of docs/architecture.md: a target sees what it may use and nothing else. It names
  // every module that it imports: SwiftPM rebuilds a target only for those.
  targets: [
    .target(name: "CVLLMSwift"),
    .target(name: "CLLGuidance"),
    .target(name: "CMLX", cxxSettings: mlxHeaders, linkerSettings: mlxLibrary),
    .target(name: "CKernels", dependencies: ["CMLX"], cxxSettings: mlxHeaders),
    .target(name: "MLXArray", dependencies: ["CMLX", "VLLMSwiftCore"]),
    .target(name: "VLLMSwiftCore"),
    .target(name: "VLLMSwiftFiles", dependencies: ["VLLMSwiftCore"]),
    .target(name: "VLLMSwiftGrammar", dependencies: ["CLLGuidance", "VLLMSwiftCore"]),
    .target(
      name: "VLLMSwiftModels",
      dependencies: ["VLLMSwiftCore", "VLLMSwiftFiles", "MLXArray", "CKernels"]),
    .target(
      name: "VLLMSwiftEngine",
      dependencies: [
        "VLLMSwiftCore", "VLLMSwiftFiles", "MLXArray", "VLLMSwiftGrammar", "VLLMSwiftModels",
      ]),
    .target(
      name: "VLLMSwiftBridge",
      dependencies: [
        "CVLLMSwift", "VLLMSwiftCore", "VLLMSwiftFiles", "MLXArray", "VLLMSwiftGrammar",
        "VLLMSwiftModels", "VLLMSwiftEngine",
      ]),
    .target(name: "CoreProbe", dependencies: ["VLLMSwiftCore"], path: "Tests/CoreProbe"),
    // What `make race` runs under ThreadSanitizer.
    .executableTarget(
      name: "EngineLoad", dependencies: ["CVLLMSwift", "VLLMSwiftEngine", "VLLMSwiftBridge"],
      path: "Tests/EngineLoad", linkerSettings: testLinking),
    .testTarget(name: "VLLMSwiftCoreTests", dependencies: ["VLLMSwiftCore"]),
    .testTarget(name: "VLLMSwiftGrammarTests", dependencies: ["VLLMSwiftGrammar"]),
    .testTarget(name: "VLLMSwiftFilesTests", dependencies: ["VLLMSwiftCore", "VLLMSwiftFiles"]),
    .testTarget(
      name: "CKernelsTests", dependencies: ["CKernels", "MLXArray"], linkerSettings: testLinking),
    .testTarget(
      name: "VLLMSwiftEngineTests", dependencies: ["VLLMSwiftCore", "VLLMSwiftEngine"],
      linkerSettings: testLinking),
  ],
  cxxLanguageStandard: .cxx20
)
