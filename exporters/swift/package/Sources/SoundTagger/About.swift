import Foundation

/// What the model says of itself, in `model.json` beside it.
public struct About: Decodable {
    public struct Input: Decodable {
        public let name: String
        /// Sizes of the axes between the first, which is the batch, and the last, which is the samples.
        public let between: [Int]
        /// The one length that it takes; nil where it takes any from `least` to `most`.
        public let size: Int?
        public let least: Int
        public let `default`: Int
        public let most: Int
    }

    public let title: String
    public let facts: [String: String]
    public let input: Input

    /// Of the samples that the model takes, in Hz.
    public var sampleRate: Double { Double(facts["sample_rate"] ?? "") ?? 0 }

    /// Names of the classes, in order.
    public var labels: [String] {
        (try? JSONDecoder().decode([String].self, from: Data((facts["labels"] ?? "").utf8))) ?? []
    }

    /// The output that ranks the classes; nil where the model does not give it.
    public var scores: String? { facts["scores"] }

    /// The greatest magnitude of the sound that the model takes; nil where it takes sound as it is.
    public var peak: Float? { facts["peak"].flatMap(Float.init) }
}

extension About {
    /// Of the model that this package holds.
    static func inPackage() throws -> About {
        try JSONDecoder().decode(About.self, from: Data(contentsOf: resource("model.json")))
    }
}

/// The place of a file that lies beside the model.
func resource(_ name: String) throws -> URL {
    guard let place = Bundle.module.url(forResource: name, withExtension: nil, subdirectory: "Model") else {
        throw CocoaError(.fileNoSuchFile, userInfo: [NSFilePathErrorKey: name])
    }
    return place
}
