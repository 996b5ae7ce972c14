#if canImport(CoreML)
import CoreML
import Foundation

/// The package's model. Nothing else here knows Core ML.
public struct CoreMLNetwork: Network {
    private let model: MLModel
    private let input: String

    /// Compiles and loads the `.mlpackage` at this place, whose input is called so.
    public init(package: URL, input: String, computeUnits: MLComputeUnits = .all) async throws {
        let configuration = MLModelConfiguration()
        configuration.computeUnits = computeUnits
        let compiled = try await MLModel.compileModel(at: package)
        model = try await MLModel.load(contentsOf: compiled, configuration: configuration)
        self.input = input
    }

    public func outputs(of input: Tensor) throws -> [String: Tensor] {
        let array = MLShapedArray<Float>(scalars: input.numbers, shape: input.shape)
        let features = try MLDictionaryFeatureProvider(dictionary: [self.input: MLFeatureValue(shapedArray: array)])
        let answer = try model.prediction(from: features)
        var outputs: [String: Tensor] = [:]
        for name in answer.featureNames {
            // Its scalars are in C order, whatever the strides of Core ML's own array.
            guard let value = answer.featureValue(for: name)?.shapedArrayValue(of: Float.self) else {
                throw TaggerError.noSuchOutput(name)
            }
            outputs[name] = Tensor(shape: value.shape, numbers: value.scalars)
        }
        return outputs
    }
}

extension Tagger {
    /// The model that this package holds. Compiling it takes a moment: load it once.
    public static func load(computeUnits: MLComputeUnits = .all) async throws -> Tagger {
        let about = try About.inPackage()
        let network = try await CoreMLNetwork(
            package: try resource("model.mlpackage"), input: about.input.name, computeUnits: computeUnits)
        return Tagger(about: about, network: network)
    }
}
#endif
