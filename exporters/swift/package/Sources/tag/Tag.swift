import Foundation
import SoundTagger

@main
struct Tag {
    static func main() async throws {
        #if canImport(CoreML)
        let tagger = try await Tagger.load()
        for file in CommandLine.arguments.dropFirst() {
            let answer = try tagger.tag(contentsOf: URL(fileURLWithPath: file))
            for best in answer.classes.prefix(10) {
                print(String(format: "%.4f", best.probability), best.label)
            }
        }
        #else
        print("Core ML is on Apple's systems only.")
        #endif
    }
}
