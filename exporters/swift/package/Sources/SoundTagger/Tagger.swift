import Foundation

/// Numbers in C order: the last axis changes fastest.
public struct Tensor: Equatable {
    public let shape: [Int]
    public let numbers: [Float]

    public init(shape: [Int], numbers: [Float]) {
        self.shape = shape
        self.numbers = numbers
    }
}

/// What computes a model's outputs, by name. Core ML is one; a test may have another.
public protocol Network {
    func outputs(of input: Tensor) throws -> [String: Tensor]
}

public enum TaggerError: Error, Equatable, CustomStringConvertible {
    case tooShort(seconds: Double, needed: Double)
    case notFinite
    case noSuchOutput(String)
    case unreadable(String)

    public var description: String {
        switch self {
        case let .tooShort(seconds, needed):
            return "The sound is \(seconds) s long, which is too short: the model needs \(needed) s."
        case .notFinite:
            return "The sound holds samples that are no numbers."
        case let .noSuchOutput(name):
            return "The model gives no \(name), which model.json names: make the package again."
        case let .unreadable(reason):
            return "The sound cannot be read: \(reason)"
        }
    }
}

/// Names the sounds in mono samples at the model's rate.
public struct Tagger {
    public struct Class: Equatable {
        public let label: String
        public let probability: Float
    }

    public struct Window {
        /// Where it begins and ends in the sound, in seconds.
        public let start, end: Double
        public let outputs: [String: Tensor]
        /// Of each class, in order; empty where the model gives no scores.
        public let probabilities: [Float]
    }

    public struct Answer {
        public let windows: [Window]
        /// By the mean over all windows, the likeliest first.
        public let classes: [Class]
    }

    public let about: About
    let network: Network

    public init(about: About, network: Network) {
        self.about = about
        self.network = network
    }

    /// One window after the other, of the one length that the model takes; of any length, the whole sound, unless it is
    /// longer than the model takes at once. The last one is padded with zeros only where the model's authors do so.
    public func tag(_ samples: [Float]) throws -> Answer {
        guard samples.allSatisfy(\.isFinite) else { throw TaggerError.notFinite }
        let sound = prepared(samples)
        let windows = try spans(samples.count).map { try window($0, of: sound) }
        guard !windows.isEmpty else {
            throw TaggerError.tooShort(
                seconds: Double(samples.count) / about.sampleRate, needed: Double(shortest) / about.sampleRate)
        }
        return Answer(windows: windows, classes: ranked(windows))
    }

    private var shortest: Int { about.peak == nil ? about.input.size ?? about.input.least : 1 }

    func spans(_ count: Int) -> [Range<Int>] {
        let size = count > about.input.most ? about.input.default : about.input.size ?? max(count, 1)
        return stride(from: 0, to: count, by: size)
            .map { $0..<min($0 + size, count) }
            .filter { $0.count >= shortest }
    }

    /// With the greatest magnitude that the model takes; silence stays silence.
    private func prepared(_ samples: [Float]) -> [Float] {
        let greatest = samples.reduce(0) { max($0, abs($1)) }
        guard let peak = about.peak, greatest > 0 else { return samples }
        return samples.map { peak * ($0 / greatest) }
    }

    private func window(_ span: Range<Int>, of samples: [Float]) throws -> Window {
        let size = about.input.size ?? span.count
        let fed = samples[span] + Array(repeating: 0, count: size - span.count)
        let outputs = try network.outputs(of: Tensor(shape: [1] + about.input.between + [size], numbers: Array(fed)))
        return Window(
            start: Double(span.lowerBound) / about.sampleRate,
            end: Double(span.upperBound) / about.sampleRate,
            outputs: outputs,
            probabilities: try probabilities(outputs))
    }

    private func probabilities(_ outputs: [String: Tensor]) throws -> [Float] {
        guard let name = about.scores else { return [] }
        guard let scores = outputs[name]?.numbers else { throw TaggerError.noSuchOutput(name) }
        switch about.facts["scores_kind"] {
        case "logit":
            return scores.map { 1 / (1 + exp(-$0)) }
        case "multiclass_logit":
            let greatest = scores.max() ?? 0
            let odds = scores.map { exp($0 - greatest) }
            let sum = odds.reduce(0, +)
            return odds.map { $0 / sum }
        default:
            return scores
        }
    }

    private func ranked(_ windows: [Window]) -> [Class] {
        guard about.scores != nil else { return [] }
        return about.labels.enumerated()
            .map { index, label in
                let sum = windows.reduce(Float(0)) { $0 + $1.probabilities[index] }
                return Class(label: label, probability: sum / Float(windows.count))
            }
            .sorted { $0.probability > $1.probability }
    }
}
