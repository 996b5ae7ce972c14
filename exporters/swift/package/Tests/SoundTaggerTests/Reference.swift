import Foundation
import SoundTagger

/// What PyTorch answers to each sound: reference.json of the folder that the package was made in.
struct Reference: Decodable {
    struct Fed: Decodable {
        let shape: [Int]
        let files: [String]
    }

    struct Case: Decodable {
        let name: String
        let input: [String: Fed]
        let outputs: [String: Expected]
    }

    let sample_rate: Double
    let cases: [Case]
}

/// Elements 0, `stride`, 2 × `stride` and so on of an array of this shape.
struct Expected: Decodable {
    let shape: [Int]
    let stride: Int
    let values: [Float]

    /// What is wrong with an answer, if anything is.
    func fault(in actual: Tensor, _ tolerance: Tolerance) -> String? {
        guard actual.shape == shape else { return "has shape \(actual.shape), expected \(shape)" }
        guard values.count == (actual.numbers.count + stride - 1) / stride else { return "has other elements" }
        guard actual.numbers.allSatisfy(\.isFinite) else { return "holds NaN or infinity" }
        for (index, value) in values.enumerated() {
            let expected = Double(value)
            let error = abs(Double(actual.numbers[index * stride]) - expected)
            if error > tolerance.atol + tolerance.rtol * abs(expected) {
                return "is off by \(error) at \(index * stride), expected \(expected)"
            }
        }
        return nil
    }
}

struct Tolerance: Decodable {
    let atol, rtol: Double
}

/// The part of manifest.json that says how far off an output may be.
struct Manifest: Decodable {
    struct Output: Decodable {
        let name: String
        let tolerances: [String: Tolerance]
    }

    struct Artifact: Decodable {
        let precision: String
    }

    let outputs: [Output]
    let artifacts: [String: Artifact]

    /// By output, at the precision of this package.
    var tolerances: [String: Tolerance] {
        let precision = artifacts["swift"]?.precision ?? ""
        return Dictionary(uniqueKeysWithValues: outputs.compactMap { output in
            output.tolerances[precision].map { (output.name, $0) }
        })
    }
}
