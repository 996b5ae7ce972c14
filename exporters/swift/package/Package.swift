// swift-tools-version:5.7
import PackageDescription

let package = Package(
    name: "SoundTagger",
    // Older systems cannot load an ML program with a free length.
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [
        .library(name: "SoundTagger", targets: ["SoundTagger"]),
        .executable(name: "tag", targets: ["tag"]),
    ],
    targets: [
        // Copied as it is, so that Xcode and the command line build the same: the model is compiled when it is loaded.
        .target(name: "SoundTagger", resources: [.copy("Model")]),
        .executableTarget(name: "tag", dependencies: ["SoundTagger"]),
        .testTarget(name: "SoundTaggerTests", dependencies: ["SoundTagger"]),
    ]
)
