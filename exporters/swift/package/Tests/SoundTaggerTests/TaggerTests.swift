import Foundation
import XCTest

@testable import SoundTagger

/// Answers with the sum and the peak of what it is fed.
private struct Sums: Network {
    func outputs(of input: Tensor) throws -> [String: Tensor] {
        let (sum, peak) = (input.numbers.reduce(0, +), input.numbers.map(abs).max() ?? 0)
        return ["scores": Tensor(shape: [1, 2], numbers: [sum, peak])]
    }
}

/// Windows, peaks and ranks, with a network that needs no Core ML.
final class TaggerTests: XCTestCase {
    private func tagger(size: Int?, peak: String? = nil, kind: String = "probability") throws -> Tagger {
        var facts = ["sample_rate": "10", "labels": #"["sum", "peak"]"#, "scores": "scores", "scores_kind": kind]
        facts["peak"] = peak
        let about: [String: Any] = [
            "title": "Sums",
            "facts": facts,
            "input": [
                "name": "waveform", "between": [Int](), "size": size.map { $0 as Any } ?? NSNull(),
                "least": size ?? 2, "default": size ?? 4, "most": size ?? 8,
            ],
        ]
        let json = try JSONSerialization.data(withJSONObject: about)
        return Tagger(about: try JSONDecoder().decode(About.self, from: json), network: Sums())
    }

    func testAnyLengthIsOneWindowUntilItIsTooLong() throws {
        let free = try tagger(size: nil)
        XCTAssertEqual(free.spans(7), [0..<7])
        XCTAssertEqual(free.spans(9), [0..<4, 4..<8])
        XCTAssertEqual(free.spans(10), [0..<4, 4..<8, 8..<10])
    }

    func testOneLengthIsPaddedOnlyWhereThatIsDone() throws {
        XCTAssertEqual(try tagger(size: 4).spans(7), [0..<4])
        XCTAssertEqual(try tagger(size: 4, peak: "0.5").spans(7), [0..<4, 4..<7])
        let answer = try tagger(size: 4, peak: "0.5").tag([1, 0, 0, 0, 2])
        XCTAssertEqual(answer.windows.map(\.probabilities), [[0.25, 0.25], [0.5, 0.5]])
        XCTAssertEqual(answer.windows.map(\.end), [0.4, 0.5])
    }

    func testTheMeanRanks() throws {
        let answer = try tagger(size: 2).tag([0.5, -0.5, 0.25, 0.25])
        XCTAssertEqual(answer.classes.map(\.label), ["peak", "sum"])
        XCTAssertEqual(answer.classes.map(\.probability), [0.375, 0.25])
    }

    func testScoresBecomeProbabilities() throws {
        let sigmoid = try tagger(size: 2, kind: "logit").tag([0, 0])
        XCTAssertEqual(sigmoid.classes.map(\.probability), [0.5, 0.5])
        let softmax = try tagger(size: 2, kind: "multiclass_logit").tag([3, 4])
        XCTAssertEqual(softmax.classes.map(\.probability).reduce(0, +), 1, accuracy: 1e-6)
    }

    func testTheModelIsInThePackage() throws {
        let about = try About.inPackage()
        XCTAssertGreaterThan(about.sampleRate, 0)
        XCTAssertFalse(about.labels.isEmpty)
        XCTAssertTrue(FileManager.default.fileExists(atPath: try resource("model.mlpackage").path))
    }

    func testWhatIsTooShortOrNoNumberIsRefused() throws {
        XCTAssertThrowsError(try tagger(size: nil).tag([1])) {
            XCTAssertEqual($0 as? TaggerError, .tooShort(seconds: 0.1, needed: 0.2))
        }
        XCTAssertThrowsError(try tagger(size: nil).tag([1, .nan])) {
            XCTAssertEqual($0 as? TaggerError, .notFinite)
        }
    }
}
