import Foundation
import XCTest

@testable import SoundTagger

/// Each output of each case that the model takes, at the manifest's tolerances.
final class ReferenceTests: XCTestCase {
    #if canImport(CoreML)
    /// The folder that the package was made in, or the one that the environment names where the package was moved.
    private var folder: URL {
        if let moved = ProcessInfo.processInfo.environment["SOUNDPORT_REFERENCE"] {
            return URL(fileURLWithPath: moved)
        }
        return (0..<4).reduce(URL(fileURLWithPath: #filePath)) { path, _ in path.deletingLastPathComponent() }
    }

    private func read<Content: Decodable>(_ type: Content.Type, _ name: String) throws -> Content {
        try JSONDecoder().decode(type, from: Data(contentsOf: folder.appendingPathComponent(name)))
    }

    func testEveryOutputOfEveryCase() async throws {
        let tagger = try await Tagger.load()
        let reference = try read(Reference.self, "reference.json")
        let tolerances = try read(Manifest.self, "manifest.json").tolerances
        XCTAssertEqual(reference.sample_rate, tagger.about.sampleRate)
        var compared = 0
        for sound in reference.cases {
            let fed = try XCTUnwrap(sound.input[tagger.about.input.name])
            if let size = tagger.about.input.size, fed.shape.last != size { continue }
            var rows: [[String: Tensor]] = []
            for file in fed.files {
                // As it is: what the model's authors do to a sound is done in the file already.
                let samples = try Sound.samples(of: folder.appendingPathComponent(file), at: reference.sample_rate)
                rows.append(try tagger.network.outputs(of: Tensor(shape: [1] + fed.shape.dropFirst(), numbers: samples)))
            }
            XCTAssertEqual(Set(rows[0].keys), Set(sound.outputs.keys), sound.name)
            for (name, expected) in sound.outputs {
                let actual = try Tensor(joining: rows.map { try XCTUnwrap($0[name]) })
                let tolerance = try XCTUnwrap(tolerances[name], "manifest.json has no tolerance of \(name)")
                XCTAssertNil(expected.fault(in: actual, tolerance), "\(sound.name), \(name)")
                compared += 1
            }
        }
        XCTAssertGreaterThan(compared, 0, "no case has the length that the model takes")
    }
    #endif

    func testEachFaultIsFound() {
        let expected = Expected(shape: [1, 3], stride: 2, values: [1, -2])
        let tolerance = Tolerance(atol: 0.1, rtol: 0.1)
        func fault(_ shape: [Int], _ numbers: [Float]) -> String? {
            expected.fault(in: Tensor(shape: shape, numbers: numbers), tolerance)
        }
        XCTAssertNil(fault([1, 3], [1.15, 9, -2.25]))
        XCTAssertNotNil(fault([1, 3], [1.25, 9, -2]))
        XCTAssertNotNil(fault([1, 3], [1, 9, -2.35]))
        XCTAssertNotNil(fault([3, 1], [1, 9, -2]))
        XCTAssertNotNil(fault([1, 3], [1, .nan, -2]))
        XCTAssertNotNil(fault([1, 3], [1, 9]))
    }
}

extension Tensor {
    /// Rows of a batch, one after the other.
    fileprivate init(joining rows: [Tensor]) {
        self.init(shape: [rows.count] + rows[0].shape.dropFirst(), numbers: rows.flatMap(\.numbers))
    }
}
